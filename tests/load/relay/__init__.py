"""Parts of ``bench_relay``, each of which measures one thing on a running ``Stack``."""
