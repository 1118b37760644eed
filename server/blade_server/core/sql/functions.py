"""Which functions SQL may call: built-ins of Databricks SQL that compute from their arguments, by name and no others.

A name that is no built-in is a function that somebody made in the session's schema, and may do anything. The list is
that of https://docs.databricks.com/aws/en/sql/language-manual/sql-ref-functions-builtin-alpha, with the aliases that
Apache Spark 4 knows (https://spark.apache.org/docs/latest/api/sql/), less what `_REFUSED` says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import pairwise

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from blade_server.core.sql.parse import invalid, position

_STRINGS = {kind for kind in TokenType if kind.name.endswith("STRING")}

_BUILT_INS = """
# Text, binary, and what is made of them.
aes_decrypt aes_encrypt ascii base64 bin bit_length bitmap_bit_position bitmap_bucket_number bitmap_count btrim char
char_length character_length charindex chr coalesce collate collation concat concat_ws contains crc32 decode elt
encode endswith find_in_set format_number format_string hash hex ilike initcap instr is_valid_utf8 isnan isnotnull
isnull lcase left len length levenshtein like locate lower lpad ltrim luhn_check make_valid_utf8 mask md5 octet_length
overlay parse_url position printf quote randstr regexp regexp_count regexp_extract regexp_extract_all regexp_instr
regexp_like regexp_replace regexp_substr repeat replace reverse right rlike rpad rtrim sentences sha sha1 sha2 soundex
space split split_part startswith string substr substring substring_index to_binary to_char to_number to_varchar
translate trim try_aes_decrypt try_parse_url try_to_binary try_to_number try_url_decode try_validate_utf8
try_zstd_decompress ucase unbase64 unhex upper url_decode url_encode validate_utf8 xxhash64 zstd_compress
zstd_decompress
# Numbers.
abs acos acosh asin asinh atan atan2 atanh bit_count bit_get bitwise_not bround cbrt ceil ceiling conv cos cosh cot
csc degrees div e exp expm1 factorial floor getbit greatest hypot ifnull least ln log log10 log1p log2 mod nanvl
negative nullifzero pi pmod positive pow power radians rand random rint round sec shiftleft shiftright
shiftrightunsigned sign signum sin sinh sqrt tan tanh trunc try_add try_divide try_mod try_multiply try_subtract
uniform width_bucket zeroifnull
# Conditions, types and casts; a type's name is a function, or takes its precision.
any assert_true bigint binary boolean cardinality case cast date decimal double equal_null exists float if int nullif
nvl nvl2 raise_error smallint some timestamp timestamp_ltz timestamp_ntz tinyint try_cast typeof varchar
# Times.
add_months convert_timezone curdate current_date current_time current_timestamp current_timezone date_add date_diff
date_format date_from_unix_date date_part date_sub date_trunc dateadd datediff datepart day dayname dayofmonth
dayofweek dayofyear extract from_unixtime from_utc_timestamp hour last_day localtimestamp make_date make_dt_interval
make_interval make_time make_timestamp make_timestamp_ltz make_timestamp_ntz make_ym_interval minute month monthname
months_between next_day now quarter second session_window time time_diff time_trunc timediff timestamp_micros
timestamp_millis timestamp_seconds timestampadd timestampdiff to_date to_time to_timestamp to_timestamp_ltz
to_timestamp_ntz to_unix_timestamp to_utc_timestamp try_make_interval try_make_timestamp try_make_timestamp_ltz
try_make_timestamp_ntz try_to_date try_to_time try_to_timestamp unix_date unix_micros unix_millis unix_seconds
unix_timestamp weekday weekofyear window window_time year
# Arrays, maps, structs; what makes rows of them.
aggregate array array_append array_compact array_contains array_distinct array_except array_insert array_intersect
array_join array_max array_min array_position array_prepend array_remove array_repeat array_size array_sort
array_union arrays_overlap arrays_zip element_at explode explode_outer filter flatten forall get inline inline_outer
map map_concat map_contains_key map_entries map_filter map_from_arrays map_from_entries map_keys map_values
map_zip_with named_struct posexplode posexplode_outer range reduce sequence shuffle size slice sort_array stack
str_to_map struct struct_insert transform transform_keys transform_values try_element_at zip_with
# JSON, CSV, variants, XPath: from values, not from files.
from_csv from_json get_json_object is_variant_null json_array_length json_object_keys json_tuple parse_json
schema_of_csv schema_of_json schema_of_json_agg schema_of_variant schema_of_variant_agg to_csv to_json
to_variant_object try_parse_json try_variant_get variant_explode variant_explode_outer variant_get xpath xpath_boolean
xpath_double xpath_float xpath_int xpath_long xpath_number xpath_short xpath_string
# Aggregates and windows.
any_value approx_count_distinct approx_percentile approx_top_k approx_top_k_accumulate approx_top_k_combine
approx_top_k_estimate array_agg avg bit_and bit_or bit_xor bitmap_and_agg bitmap_construct_agg bitmap_or_agg bool_and
bool_or collect_list collect_set corr count count_if count_min_sketch covar_pop covar_samp cume_dist dense_rank every
first first_value grouping grouping_id histogram_numeric hll_sketch_agg hll_sketch_estimate hll_union hll_union_agg
kll_sketch_agg_bigint kll_sketch_agg_double kll_sketch_agg_float kll_sketch_get_quantile_bigint
kll_sketch_get_quantile_double kll_sketch_get_quantile_float kurtosis lag last last_value lead listagg max max_by mean
measure median min min_by mode nth_value ntile percent_rank percentile percentile_approx percentile_cont
percentile_disc rank regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy
row_number skewness std stddev stddev_pop stddev_samp string_agg sum theta_difference theta_intersection
theta_intersection_agg theta_sketch_agg theta_sketch_estimate theta_union theta_union_agg try_avg try_sum var_pop
var_samp variance
# Places on the earth.
h3_boundaryasgeojson h3_boundaryaswkb h3_boundaryaswkt h3_centerasgeojson h3_centeraswkb h3_centeraswkt h3_compact
h3_coverash3 h3_coverash3string h3_distance h3_h3tostring h3_hexring h3_ischildof h3_ispentagon h3_isvalid h3_kring
h3_kringdistances h3_longlatash3 h3_longlatash3string h3_maxchild h3_minchild h3_pointash3 h3_pointash3string
h3_polyfillash3 h3_polyfillash3string h3_resolution h3_stringtoh3 h3_tessellateaswkb h3_tochildren h3_toparent
h3_try_coverash3 h3_try_coverash3string h3_try_distance h3_try_polyfillash3 h3_try_polyfillash3string
h3_try_tessellateaswkb h3_try_validate h3_uncompact h3_validate st_addpoint st_area st_asbinary st_asewkb st_asewkt
st_asgeojson st_astext st_aswkb st_aswkt st_azimuth st_buffer st_centroid st_concavehull st_contains st_convexhull
st_covers st_difference st_dimension st_disjoint st_distance st_distancesphere st_distancespheroid st_dump st_dwithin
st_endpoint st_envelope st_envelope_agg st_equals st_exteriorring st_flipcoordinates st_force2d st_geogfromgeojson
st_geogfromtext st_geogfromwkb st_geogfromwkt st_geohash st_geometryn st_geometrytype st_geomfromgeohash
st_geomfromgeojson st_geomfromtext st_geomfromwkb st_geomfromwkt st_interiorringn st_intersection st_intersects
st_isempty st_isvalid st_length st_m st_makeline st_makepolygon st_multi st_ndims st_npoints st_numgeometries
st_numinteriorrings st_perimeter st_point st_pointfromgeohash st_pointn st_removepoint st_reverse st_rotate st_scale
st_setpoint st_setsrid st_simplify st_srid st_startpoint st_touches st_transform st_translate st_union st_union_agg
st_within st_x st_xmax st_xmin st_y st_ymax st_ymin st_z st_zmax st_zmin to_geography to_geometry try_to_geography
try_to_geometry
# The session: names that say nothing of who may what, the warehouse's version, chance.
current_catalog current_database current_schema current_user monotonically_increasing_id session_user user uuid
version
"""


def _words(text: str) -> frozenset[str]:
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return frozenset(word for line in lines for word in line.split())


_ALLOWED = _words(_BUILT_INS)

_REFUSED = {
    r"ai_\w+|vector_search": "it calls a model",
    r"(try_)?secret|list_secrets": "it shows secrets",
    r"http_request|remote_query": "it reaches out over the network",
    r"read_\w+|cloud_files\w*|file_\w+|to_file|input_file_\w+": "it reads files, or tells where they are",
    r"from_avro|to_avro|from_protobuf|to_protobuf|from_xml|to_xml|schema_of_xml": "it may read a schema from a file or "
    "over the network",
    r"java_method|(try_)?reflect|pyfunc|python_udf": "it runs code",
    r"identifier|table|stream|unnest": "it names a table in a way that cannot be checked",
    r"table_changes|event_log|get_warmup_\w+|collations|sql_keywords": "it reads what is no source",
    r"current_metastore|current_recipient|is_\w*member|session_context": "it tells of the account that reads",
}
"""Built-ins that are not let through, as patterns, and why."""

_SYNTAX = _words(
    """
    ALL AND ANY AS BETWEEN BY CASE CUBE DISTINCT DIV ELSE ESCAPE EXCEPT EXISTS FILTER FOR FROM GROUP HAVING ILIKE IN
    INTERSECT IS JOIN LATERAL LIKE LIMIT MINUS NOT OF OFFSET ON OR OVER PIVOT QUALIFY REGEXP REPEATABLE RLIKE ROLLUP
    SELECT SETS SOME TABLESAMPLE THEN UNION UNPIVOT USING VALUES WHEN WHERE ZONE
    """
)
"""Words behind which a bracket opens no call."""

_NAMING = (TokenType.ALIAS, TokenType.DCOLON)
"""Behind AS and :: stand the names of tables and types."""


def check_functions(tree: exp.Expr, tokens: Sequence[Token], *, field: str) -> None:
    """Pass a text that calls known built-ins and nothing else.

    Goes by the text: a tree has functions under other names than they are called by.

    Args:
        tree: what was parsed; names in it that take a list of columns (`t(a, b)`) are no calls.
        tokens: of the text.
        field: where the text stands in the request, for errors.

    Raises:
        Invalid: naming the function, its place, and why, or the nearest that is known.
    """
    calls = list(_calls(tokens))
    unknown = [(before, token) for before, token in calls if before or token.text.lower() not in _ALLOWED]
    if unknown:
        named = {alias.this.meta.get("start") for alias in tree.find_all(exp.TableAlias) if alias.this}
        for qualified, token in unknown:
            if token.start not in named:
                raise invalid(field, _refusal(token, qualified=qualified))


def check_named(function: exp.Anonymous, *, field: str) -> None:
    """Pass a function that the parser does not know if it is a built-in: `sets(1)` calls one, and is a word, too."""
    if function.name.lower() not in _ALLOWED:
        raise invalid(field, f"the function {function.name[:80]}{position(function)} is not allowed")


def _calls(tokens: Sequence[Token]) -> Iterator[tuple[bool, Token]]:
    """The words that a bracket follows, but for those of the language; whether a dot stands before, and the word."""
    before: Token | None = None
    for token, following in pairwise(tokens):
        if following.token_type is TokenType.L_PAREN and _is_called(token, before):
            yield before is not None and before.token_type is TokenType.DOT, token
        before = token


def _is_called(token: Token, before: Token | None) -> bool:
    if before is not None and before.token_type in _NAMING:
        return False
    if token.token_type is TokenType.ALIAS:  # behind a name or a bracket; else it is the name of a function
        return before is None or not (before.token_type in {TokenType.R_PAREN, *_STRINGS} or _is_name(before))
    return _is_name(token)


def _is_name(token: Token) -> bool:
    if token.token_type is TokenType.IDENTIFIER:
        return True
    word = token.text.rpartition(" ")[2].upper()  # PARTITION BY is one token
    return word not in _SYNTAX and token.token_type not in _STRINGS and bool(re.search(r"\w", word))  # `1a` is a name


def _refusal(token: Token, *, qualified: bool) -> str:
    name = token.text.lower()
    what = f"function {name[:80]} at line {token.line}, column {token.col - (token.end - token.start)}"
    if qualified:
        return f"the user-defined {what} is not allowed; call built-ins by their own names"
    why = next((why for names, why in _REFUSED.items() if re.fullmatch(names, name)), None)
    if why:
        return f"the {what} is not allowed: {why}"
    near = get_close_matches(name, _ALLOWED, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"the {what} is not allowed: it is no built-in function of Databricks SQL that BLADE knows{hint}"
