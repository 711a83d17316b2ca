"""Measurements of files, captures and machines: evaluation, benchmarks, estimates, reports and self-tests.

Each module stands behind one command: ``measure/evaluate.py`` compares a file with its capture (``tvvc eval``),
``measure/report.py`` draws the HTML page of that, ``measure/bench.py`` makes rate-distortion curves (``tvvc bench``),
``measure/survey.py`` checks a capture (``tvvc inspect``) and ``measure/doctor.py`` the machine (``tvvc doctor``).
``measure/baselines.py`` and ``measure/baseline_fits.py`` are the methods that the codec is compared with. The room may
import every room but ``cli/``; only ``cli/`` imports it.
"""
