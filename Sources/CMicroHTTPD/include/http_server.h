// The one door to libmicrohttpd: a small server that answers GET requests with texts.
//
// `MHD_start_daemon` is variadic, which Swift cannot call; so the whole use of the library is here.
#ifndef COLDSTREAM_HTTP_SERVER_H
#define COLDSTREAM_HTTP_SERVER_H

#include <stddef.h>
#include <stdint.h>

/// A response; `text` was made by malloc and is freed after it was sent.
struct http_response {
    unsigned int status;
    const char *content_type;
    char *text;
    size_t bytes;
};

/// Answers a GET request for `path`; called on the server's thread.
typedef struct http_response (*http_answer)(const char *path, void *context);

struct http_server;

/// Listens on a numeric address (`127.0.0.1`, `0.0.0.0`) and a port (0: any free one). At most 32
/// connections at once, each closed after 5 s of silence; anything but GET and HEAD is refused.
/// Returns NULL where it cannot listen.
struct http_server *http_server_start(
    const char *address, uint16_t port, http_answer answer, void *context);

/// The port that the server listens on.
uint16_t http_server_port(const struct http_server *server);

/// Stops listening, waits for running requests, frees the server.
void http_server_stop(struct http_server *server);

#endif
