"""A structured fuzzer: hostile requests to every route, in-process, judged by one rule: never a 5xx."""
