"""Finds and replaces personal data in text: one small module per kind of it, over one folded form of the text.

    elements ─▶ scan.py: joined ─▶ fold.py: Folded ─▶ email, phone, card, … ─▶ spans of the original ─▶ replace.py
                                    │ one byte a character, look-alikes made equal, invisible characters gone
                                    └ digits.py: where numbers are, found once for all kinds that are made of digits

Used by `privacy/compile.py` and `privacy/input.py`. Must not know tensors, policies or requests.
"""
