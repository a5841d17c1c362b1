"""What Lightning 2.6 does, recorded once and held against lt.

`record.py` runs the scenarios of this folder under Lightning and writes what it saw to `recordings/`;
`integration_tests/test_oracle_*.py` runs the same scenarios under lt and compares for equality.
"""
