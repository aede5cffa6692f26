"""`.gitattributes`: what git does to a file's contents on checkout, by gitattributes(5).

dulwich's own code for it has no macros and no quoted patterns, and a hostile pattern takes it hours.
"""
