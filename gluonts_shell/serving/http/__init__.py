"""HTTP/1.1 on a socket that processes share. It knows bytes, sockets and deadlines, and never what is asked.

exchange     a request, a response, and what the server needs of an application
limits       how much a client may send, and how long each side waits
listener     the socket that the workers share
server       accepts connections and gives each a thread; makes room, cuts off, drains
connection   one connection: a request, its answer, the next request
framing      where a request ends in the stream of bytes (RFC 9112 sections 6 and 7)
wire         heads of requests and answers (RFC 9112, RFC 9110)
shares       how many connections each worker has, so that the one with the fewest takes the next
"""
