"""The query: its attributes, the table a user writes, the keys on the wire, and matching on this side."""

from pacsifier.query.attributes import ATTRIBUTES, INFO_COLUMNS, QUERY_COLUMNS, Attribute
from pacsifier.query.chosen import SERIES_COLUMNS
from pacsifier.query.columns import Query, by_first_row
from pacsifier.query.matching import PADDING, Match, Verdict, fold, matches
from pacsifier.query.shard import SHARD, WHOLE, Shard
from pacsifier.query.table import QueryTable, read_query_file, read_query_rows
from pacsifier.query.wire import around, ascii_wildcards, halves, is_single_key, is_uid, study_keys

__all__ = [
    "ATTRIBUTES",
    "INFO_COLUMNS",
    "PADDING",
    "QUERY_COLUMNS",
    "SERIES_COLUMNS",
    "SHARD",
    "WHOLE",
    "Attribute",
    "Match",
    "Query",
    "QueryTable",
    "Shard",
    "Verdict",
    "around",
    "ascii_wildcards",
    "by_first_row",
    "fold",
    "halves",
    "is_single_key",
    "is_uid",
    "matches",
    "read_query_file",
    "read_query_rows",
    "study_keys",
]
