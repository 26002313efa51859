"""The run folder: where every file of a run stands, how it is written, and the curves and report made from it."""

from toolkit.reporting.files import append_jsonl, read_jsonl, rewrite_jsonl, write_bytes_atomic, write_json_atomic, write_text_atomic
from toolkit.reporting.run_dir import RunDir

__all__ = ["RunDir", "append_jsonl", "read_jsonl", "rewrite_jsonl", "write_bytes_atomic", "write_json_atomic", "write_text_atomic"]
