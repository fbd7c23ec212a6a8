"""Names, phones, identity numbers and credit codes that look right and belong to nobody.

Identity numbers carry region 999999, which GB/T 2260 never assigns; phones begin with 100, which is no mobile prefix;
credit codes carry the same region. Check digits are right (GB 11643-1999, GB 32100-2015), so that validation has
something to validate.
"""

from __future__ import annotations

import numpy as np
import polars as pl

SURNAMES = np.array(
    list(
        "王李张刘陈杨黄赵吴周徐孙马朱胡林郭何高罗郑梁谢宋唐许邓冯韩曹曾彭萧蔡潘田董袁于余叶蒋杜苏魏程吕丁沈任姚卢傅钟姜崔谭廖范汪陆金石戴贾韦夏邱方侯邹熊孟秦白江阎薛尹段雷黎史龙贺陶顾毛郝龚邵万钱严赖覃洪武莫孔"
    )
)
GIVEN = np.array(
    list(
        "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰建国文斌志红波辉晓雪鹏飞宇浩然子轩欣怡佳琪思远梓涵雨桐俊豪嘉慧诗婷凯峰海燕春梅冬青"
    )
)
_ID_WEIGHTS = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2])
_ID_CHECK = np.array(list("10X98765432"))
_CREDIT = np.array(list("0123456789ABCDEFGHJKLMNPQRTUWXY"))
_CREDIT_WEIGHTS = np.array([pow(3, i, 31) for i in range(17)])


def names(rng: np.random.Generator, count: int) -> pl.Series:
    """Full names, Utf8, shape (count,)."""
    parts = pl.DataFrame(
        {"a": rng.choice(SURNAMES, count), "b": rng.choice(GIVEN, count), "c": rng.choice(GIVEN, count), "n": rng.random(count)}
    )
    return parts.select(pl.concat_str("a", "b", pl.when(pl.col("n") < 0.75).then(pl.col("c")).otherwise(pl.lit("")))).to_series()


def phones(numbers: np.ndarray) -> pl.Series:
    """Phones ``100xxxxxxxx`` from whole numbers."""
    return pl.Series((10_000_000_000 + numbers % 100_000_000).astype(np.int64)).cast(pl.Utf8)


def identity_numbers(birth_days: np.ndarray, sequence: np.ndarray) -> pl.Series:
    """18 characters of region 999999 with birth date, sequence (odd for men) and check character."""
    ymd = pl.Series(np.asarray(birth_days, dtype="datetime64[D]")).dt.strftime("%Y%m%d")
    body = (
        pl.DataFrame({"d": ymd, "s": pl.Series(sequence % 1000).cast(pl.Utf8).str.zfill(3)})
        .select(pl.concat_str(pl.lit("999999"), "d", "s"))
        .to_series()
    )
    digits = np.array(body.to_list(), dtype="S17").view(np.uint8).reshape(-1, 17) - ord("0")
    check = _ID_CHECK[(digits * _ID_WEIGHTS).sum(axis=1) % 11]
    return body + pl.Series(check)


def credit_codes(rng: np.random.Generator, count: int) -> pl.Series:
    """Unified social credit codes, 18 characters, no two alike."""
    digits = np.empty((count, 17), dtype=np.int64)
    digits[:, :8] = [9, 1, 9, 9, 9, 9, 9, 9]
    numbers = rng.permutation(10 * count)[:count] + 31**6
    for place in range(16, 7, -1):
        digits[:, place] = numbers % 31
        numbers = numbers // 31
    check = (31 - (digits * _CREDIT_WEIGHTS).sum(axis=1) % 31) % 31
    return pl.Series(["".join(row) for row in _CREDIT[np.column_stack([digits, check])]])
