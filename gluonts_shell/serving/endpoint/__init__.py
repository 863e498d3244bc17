"""An endpoint: requests in, answers out. It knows the protocol of DeepAR and of SageMaker's container, and no socket.

app          the routes, and what is done around every answer
invocations  what answers /invocations, for an endpoint and for a batch transform job
content      content codings, and what a body is by its first bytes
records      a body -> its instances with their places; the one reader of JSON and JSON Lines
verbatim     the text of a JSON value as it stands in its document
chronos      the dialect of Chronos, translated
codec        bytes <-> predictions: JSON, JSON Lines, content negotiation
batching     one predict at a time, which waiting requests join
refusal      an exception -> an answer, for clients on the same machine as SageMaker would hand it on
journal      the line that the log has of a request
"""
