"""
THE shortcut past the models, for what nearly every message is.

The models of ``protocol.wire`` decide what a document means. For the few shapes that fill the
queues this room does the same without them: it checks that a document has exactly such a shape,
makes the models without validating them, and writes canonical bytes without asking them. Whatever
has another shape goes to the models, and so do all errors.

``tests/protocol/exact/`` shows that both ways give the same: the same bytes, hashes, models and
sentences, for the recorded vectors, for random documents, and for documents that are nearly exact.
"""
