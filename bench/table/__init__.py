# SPDX-License-Identifier: Apache-2.0
"""The table of bench/run.py: one module a group of questions."""
