"""SQL conditions (DuckDB) that find a resident's identity number or mobile number in a text. Nothing else belongs here.

Identity numbers: GB 11643-1999 (18 characters: region, birth date, sequence, ISO 7064 MOD 11-2 check character), and the
permanent resident card for foreigners of 2023, which is built alike and starts with 9. Enterprise codes: GB 32100-2015, also
18 characters, told apart by the birth date and the check character. Mobile numbers: 11 digits starting with 13 to 19.
"""

from __future__ import annotations

PROVINCES = (
    "11", "12", "13", "14", "15", "21", "22", "23", "31", "32", "33", "34", "35", "36", "37", "41", "42", "43", "44", "45", "46",
    "50", "51", "52", "53", "54", "61", "62", "63", "64", "65", "71", "81", "82", "83",
)  # fmt: skip
IDENTITY_WEIGHTS = tuple(pow(2, 17 - place, 11) for place in range(18))
CREDIT_WEIGHTS = tuple(pow(3, place, 31) for place in range(17))
CREDIT_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"

# Each stands between characters that are none of its own: no 18 digits out of a longer number, no 11 digits out of the decimals
# of a coordinate or out of a hexadecimal name.
IDENTITY = r"(^|[^0-9])([1-9][0-9]{5}[ -]{0,2}[0-9]{8}[ -]{0,2}[0-9]{3}[ -]{0,2}[0-9Xx])($|[^0-9])"
MOBILE = r"(^|^\.|[^0-9A-Za-z.]|[^0-9]\.)(\+?(00)?86[ -]?)?1[3-9][0-9][ -]?[0-9]{4}[ -]?[0-9]{4}($|[^0-9A-Za-z.]|\.($|[^0-9]))"

# What holds none of these, digits full-width or plain, holds no such number: one look at a text as it stands, where all else costs.
_DIGIT = "[0-9０-９]"
LIKE_IDENTITY = f"{_DIGIT}{{6}}[ -]{{0,2}}{_DIGIT}{{8}}"
LIKE_MOBILE = f"{_DIGIT}{{3}}[ -]?{_DIGIT}{{4}}[ -]?{_DIGIT}{{4}}"


def _raw(column: str) -> str:
    name = '"' + column.replace('"', '""') + '"'
    return f"cast({name} as varchar)"


def _text(column: str) -> str:
    """The column as text with full-width digits made plain."""
    return f"translate({_raw(column)}, '０１２３４５６７８９Ｘ', '0123456789X')"


def _digit(token: str, place: int) -> str:
    return f"cast(substr({token}, {place + 1}, 1) as integer)"


def _is_identity(token: str, *, latest_birth: str) -> str:
    provinces = ", ".join(f"'{province}'" for province in PROVINCES)
    total = " + ".join(f"{_digit(token, place)} * {IDENTITY_WEIGHTS[place]}" for place in range(17))
    last = f"case when substr({token}, 18, 1) = 'X' then 10 else try_cast(substr({token}, 18, 1) as integer) end"
    birth = f"cast(try_strptime(substr({token}, 7, 8), '%Y%m%d') as date)"
    return (
        f"(substr({token}, 1, 2) in ({provinces}) or (substr({token}, 1, 1) = '9' and substr({token}, 2, 2) in ({provinces})))"
        f" and coalesce({birth} between date '1900-01-01' and date '{latest_birth}', false)"
        f" and ({total} + {last}) % 11 = 1"
    )


def _is_credit_code(token: str) -> str:
    """A unified social credit code of an enterprise (9) whose check character is right."""
    total = " + ".join(f"{_digit(token, place)} * {CREDIT_WEIGHTS[place]}" for place in range(17))
    check = f"substr('{CREDIT_ALPHABET}', cast((31 - ({total}) % 31) % 31 as bigint) + 1, 1)"
    return f"substr({token}, 1, 1) = '9' and {check} = substr({token}, 18, 1)"


def has_identity_number(column: str, *, latest_birth: str, holds_enterprise_codes: bool = False) -> str:
    """Condition: the column's text holds an identity number of a person.

    Args:
        column: name of the column.
        latest_birth: ``YYYY-MM-DD``; nobody in the data is born later.
        holds_enterprise_codes: the column is made for enterprise codes, so a number that is also a whole credit code with its
            own check character is one. Elsewhere such a number counts as a person's.
    """
    text = _text(column)
    # each character between two numbers is doubled, so that both numbers keep a neighbour of their own
    tokens = f"regexp_extract_all(regexp_replace({text}, '([^0-9Xx])', '\\1\\1', 'g'), '{IDENTITY}', 2)"
    stripped = f"list_transform({tokens}, lambda t : upper(regexp_replace(t, '[ -]', '', 'g')))"
    condition = _is_identity("t", latest_birth=latest_birth)
    if holds_enterprise_codes:
        condition += f" and not ({_is_credit_code('t')})"
    return (
        f"case when length({_raw(column)}) < 18 or not regexp_matches({_raw(column)}, '{LIKE_IDENTITY}') then false "
        f"else len(list_filter({stripped}, lambda t : {condition})) > 0 end"
    )


def has_mobile_number(column: str) -> str:
    """Condition: the column's text holds a mobile number of the Chinese mainland, with or without 86 and separators."""
    raw = _raw(column)
    is_unlike = f"length({raw}) < 11 or not regexp_matches({raw}, '{LIKE_MOBILE}')"
    return f"case when {is_unlike} then false else regexp_matches({_text(column)}, '{MOBILE}') end"
