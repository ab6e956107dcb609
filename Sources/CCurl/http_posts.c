#include "http_posts.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct http_posts {
    struct http_posts_settings settings;
    char *url;
    CURLM *multi;
    struct curl_slist *headers;
};

// One request on its way.
struct transfer {
    const struct http_posts *posts;
    struct http_post *post;
    CURL *easy;
    size_t capacity;
    int is_too_large;
    char error[CURL_ERROR_SIZE];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void start_curl(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

static struct curl_slist *append(struct curl_slist *list, const char *line) {
    struct curl_slist *longer = curl_slist_append(list, line);
    return longer ? longer : list;
}

struct http_posts *http_posts_create(const struct http_posts_settings *settings) {
    pthread_once(&once, start_curl);
    struct http_posts *posts = calloc(1, sizeof *posts);
    if (!posts) return NULL;
    posts->settings = *settings;
    posts->settings.authorization = NULL;
    posts->url = strdup(settings->url);
    posts->multi = curl_multi_init();
    posts->headers = append(posts->headers, "Content-Type: application/json");
    posts->headers = append(posts->headers, "Accept: application/json");
    // A server that answers "100 Continue" late would cost a second.
    posts->headers = append(posts->headers, "Expect:");
    if (settings->authorization) posts->headers = append(posts->headers, settings->authorization);
    if (!posts->url || !posts->multi || !posts->headers) {
        http_posts_destroy(posts);
        return NULL;
    }
    curl_multi_setopt(
        posts->multi, CURLMOPT_MAXCONNECTS, (long)(settings->concurrency ? settings->concurrency : 1));
    return posts;
}

void http_posts_destroy(struct http_posts *posts) {
    if (posts->multi) curl_multi_cleanup(posts->multi);
    curl_slist_free_all(posts->headers);
    free(posts->url);
    free(posts);
}

static size_t receive(char *bytes, size_t size, size_t count, void *context) {
    struct transfer *transfer = context;
    struct http_post *post = transfer->post;
    size_t more = size * count;
    if (more > transfer->posts->settings.answer_bytes_at_most - post->answer_bytes) {
        transfer->is_too_large = 1;
        return 0;
    }
    if (post->answer_bytes + more > transfer->capacity) {
        size_t wanted = (post->answer_bytes + more) * 2;
        char *larger = realloc(post->answer, wanted);
        if (!larger) return 0;
        post->answer = larger;
        transfer->capacity = wanted;
    }
    memcpy(post->answer + post->answer_bytes, bytes, more);
    post->answer_bytes += more;
    return more;
}

static int start(struct http_posts *posts, struct transfer *transfer, struct http_post *post) {
    memset(transfer, 0, sizeof *transfer);
    transfer->posts = posts;
    transfer->post = post;
    CURL *easy = curl_easy_init();
    if (!easy) return 0;
    transfer->easy = easy;
    curl_easy_setopt(easy, CURLOPT_URL, posts->url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, posts->headers);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, post->body);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)post->body_bytes);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, posts->settings.connect_milliseconds);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, posts->settings.total_milliseconds);
    curl_easy_setopt(
        easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)posts->settings.answer_bytes_at_most);
    // A redirect would carry the key and the texts to somebody else.
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    if (curl_multi_add_handle(posts->multi, easy) != CURLM_OK) {
        curl_easy_cleanup(easy);
        return 0;
    }
    return 1;
}

static enum http_post_fault fault(CURLcode code, const struct transfer *transfer) {
    if (transfer->is_too_large) return HTTP_POST_TOO_LARGE;
    switch (code) {
    case CURLE_OK: return HTTP_POST_NONE;
    case CURLE_FILESIZE_EXCEEDED: return HTTP_POST_TOO_LARGE;
    case CURLE_OPERATION_TIMEDOUT: return HTTP_POST_TIMEOUT;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM: return HTTP_POST_SETTINGS;
    default: return HTTP_POST_UNREACHABLE;
    }
}

static void finish(struct http_posts *posts, struct transfer *transfer, CURLcode code) {
    struct http_post *post = transfer->post;
    curl_off_t wait = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &post->status);
    curl_easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &wait);
    post->retry_after_seconds = (long)wait;
    post->fault = fault(code, transfer);
    const char *text = transfer->error[0] ? transfer->error : curl_easy_strerror(code);
    if (code != CURLE_OK) strncpy(post->message, text, sizeof post->message - 1);
    curl_multi_remove_handle(posts->multi, transfer->easy);
    curl_easy_cleanup(transfer->easy);
    transfer->easy = NULL;
}

static void never_started(struct http_post *post) {
    post->fault = HTTP_POST_UNREACHABLE;
    strncpy(post->message, "libcurl could not start the request", sizeof post->message - 1);
}

void http_posts_send(struct http_posts *posts, struct http_post *requests, size_t count) {
    size_t lanes = posts->settings.concurrency ? posts->settings.concurrency : 1;
    struct transfer *transfers = calloc(lanes, sizeof *transfers);
    size_t next = 0, running = 0;
    for (size_t i = 0; i < count; i++) {
        requests[i].status = 0;
        requests[i].fault = HTTP_POST_NONE;
        requests[i].retry_after_seconds = 0;
        requests[i].answer = NULL;
        requests[i].answer_bytes = 0;
        memset(requests[i].message, 0, sizeof requests[i].message);
        if (!transfers) never_started(&requests[i]);
    }
    while (transfers && (next < count || running > 0)) {
        for (size_t lane = 0; lane < lanes && next < count; lane++) {
            if (transfers[lane].easy) continue;
            if (start(posts, &transfers[lane], &requests[next])) {
                running++;
            } else {
                never_started(&requests[next]);
                transfers[lane].easy = NULL;
            }
            next++;
        }
        int active = 0, left = 0;
        curl_multi_perform(posts->multi, &active);
        struct CURLMsg *message;
        int has_finished = 0;
        while ((message = curl_multi_info_read(posts->multi, &left))) {
            if (message->msg != CURLMSG_DONE) continue;
            char *transfer = NULL;
            CURLcode code = message->data.result;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
            finish(posts, (struct transfer *)transfer, code);
            running--;
            has_finished = 1;
        }
        if (running > 0 && !has_finished) curl_multi_poll(posts->multi, NULL, 0, 1000, NULL);
    }
    free(transfers);
}

void http_post_clear(struct http_post *post) {
    free(post->answer);
    post->answer = NULL;
    post->answer_bytes = 0;
}
