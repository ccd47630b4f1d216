"""
Outcomes that a person or another system gives: what may be answered, and the outcome made of it.
"""
