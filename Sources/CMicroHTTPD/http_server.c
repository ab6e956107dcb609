#include "http_server.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

struct http_server {
    struct MHD_Daemon *daemon;
    http_answer answer;
    void *context;
};

static enum MHD_Result handle(
    void *closure, struct MHD_Connection *connection, const char *url, const char *method,
    const char *version, const char *upload, size_t *upload_bytes, void **request) {
    (void)version;
    (void)upload;
    struct http_server *server = closure;
    static int seen;
    if (!*request) {  // libmicrohttpd calls twice: after the head, and after the body
        *request = &seen;
        return MHD_YES;
    }
    if (*upload_bytes) {  // a body nobody wants: read past it
        *upload_bytes = 0;
        return MHD_YES;
    }
    struct http_response answer;
    if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) {
        answer = server->answer(url, server->context);
    } else {
        answer = (struct http_response){405, "text/plain", NULL, 0};
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(
        answer.bytes, answer.text ? answer.text : (void *)"",
        answer.text ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!response) {
        free(answer.text);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer.content_type);
    enum MHD_Result result = MHD_queue_response(connection, answer.status, response);
    MHD_destroy_response(response);
    return result;
}

struct http_server *http_server_start(
    const char *address, uint16_t port, http_answer answer, void *context) {
    struct sockaddr_in socket_address = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, address, &socket_address.sin_addr) != 1) return NULL;
    struct http_server *server = malloc(sizeof *server);
    if (!server) return NULL;
    server->answer = answer;
    server->context = context;
    server->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD, port, NULL, NULL, handle, server, MHD_OPTION_SOCK_ADDR,
        (struct sockaddr *)&socket_address, MHD_OPTION_CONNECTION_LIMIT, 32u,
        MHD_OPTION_CONNECTION_TIMEOUT, 5u, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)(32 << 10),
        MHD_OPTION_END);
    if (!server->daemon) {
        free(server);
        return NULL;
    }
    return server;
}

uint16_t http_server_port(const struct http_server *server) {
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}

void http_server_stop(struct http_server *server) {
    MHD_stop_daemon(server->daemon);
    free(server);
}
