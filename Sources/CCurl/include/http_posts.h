// Posts to one address through libcurl: the only door to it. libcurl's options are variadic, which
// Swift cannot call; here they stand behind plain functions.

#pragma once

#include <stddef.h>

/// Where and how to post; text is copied.
struct http_posts_settings {
    const char *url;
    /// The whole line, "Authorization: Bearer …"; NULL = none is sent.
    const char *authorization;
    long connect_milliseconds;
    /// From the first to the last byte of one request.
    long total_milliseconds;
    /// A longer answer is given up.
    size_t answer_bytes_at_most;
    /// Requests at a time.
    size_t concurrency;
};

enum http_post_fault {
    HTTP_POST_NONE,
    /// No address, no connection, no TLS, or it broke off.
    HTTP_POST_UNREACHABLE,
    HTTP_POST_TIMEOUT,
    HTTP_POST_TOO_LARGE,
    /// The certificate is not to be trusted, the URL is none: nothing that trying again mends.
    HTTP_POST_SETTINGS,
};

/// One request and what became of it.
struct http_post {
    /// Lent for the call.
    const char *body;
    size_t body_bytes;
    /// HTTP status; 0 where no answer came.
    long status;
    enum http_post_fault fault;
    /// Seconds that the server asks to wait; 0 = it does not say.
    long retry_after_seconds;
    /// Freed by `http_post_clear`.
    char *answer;
    size_t answer_bytes;
    char message[256];
};

struct http_posts;

/// NULL where libcurl cannot start.
struct http_posts *http_posts_create(const struct http_posts_settings *settings);
void http_posts_destroy(struct http_posts *posts);

/// Sends all requests and returns when each has an answer or a fault. One thread at a time.
void http_posts_send(struct http_posts *posts, struct http_post *requests, size_t count);

void http_post_clear(struct http_post *post);
