(function () {
  var box = document.getElementById('only-failed');
  box.addEventListener('change', function () { document.body.classList.toggle('only-failed', box.checked); });
  document.querySelectorAll('tr').forEach(function (row) {
    if (row.querySelector('.text-success')) { row.classList.add('met'); }
  });
  document.querySelectorAll('a[data-toggle="collapse"]').forEach(function (link) {
    link.addEventListener('click', function (event) {
      event.preventDefault();
      var body = document.getElementById(link.getAttribute('href').slice(1));
      link.setAttribute('aria-expanded', String(body.classList.toggle('show')));
    });
  });
})();
