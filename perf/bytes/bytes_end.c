/*
 * bytes_end: one end of a connection, a client's or the origin's. It sends a head and content as the plan says, compares what comes, cuts where the plan
 * says so, and judges how the other side ended.
 *
 * What must hold: every byte that comes is the right one. What looks complete is complete, and was sent to its end. Nothing ends early unless a cut of the plan was
 * done. In a tunnel a FIN comes where one was sent, behind all that went before it, and the other way goes on; a reset comes as one.
 */
#define _GNU_SOURCE
#include "bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 30000u
#define PIECES 8 /* that are sent or received in one go */

static char buffer[1 << 20];

/* NULL: its slot has gone on so far that nothing is known any more. */
static struct exchange *known(const struct end *end)
{
    return end->exchange && end->exchange->plan.number == end->plan.number ? end->exchange : NULL;
}

static bool was_cut(const struct end *end)
{
    return !known(end) || end->exchange->cut;
}

static enum side other(const struct end *end)
{
    return end->side == CLIENT ? ORIGIN : CLIENT;
}

static void end_close(struct end *end, bool reset)
{
    struct linger now = { .l_onoff = 1 };

    if (reset)
        setsockopt(end->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(end->fd);
    end->fd = -1;
    end_over(end);
}

void end_watch(struct end *end)
{
    bool paused = end->paused_until_ms > run.now_ms;
    bool to_send = !end->lost && !end->shut && end->exchange &&
                   (end->head_sent < end->head_bytes || (end->sending && !end->sent_all));
    uint32_t interest =
        (paused || (end->in == IN_DONE && is_tunnel(end->plan.kind)) ? 0 : EPOLLIN) | (to_send ? EPOLLOUT : 0);
    struct epoll_event event = { .events = interest, .data.ptr = end };

    if (interest == end->interest)
        return;
    end->interest = interest;
    if (epoll_ctl(run.epoll, EPOLL_CTL_MOD, end->fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

/* ---- heads ---------------------------------------------------------------------------------------------------------- */

static void head_write(struct end *end)
{
    static const char *const methods[] = { "GET", "POST", "GET" };
    const struct plan *plan = &end->plan;
    enum side side = end->side;
    char framing[64] = "";

    if (plan->chunked[side])
        strcpy(framing, "Transfer-Encoding: chunked\r\n");
    else if (plan->kind == POST || (side == ORIGIN && !plan->until_close))
        snprintf(framing, sizeof framing, "Content-Length: %" PRIu64 "\r\n", plan->bytes[side]);
    end->head_sent = 0;
    if (plan->kind == TCP || (plan->kind == CONNECT && side == ORIGIN))
        end->head_bytes = side == ORIGIN ? 0 : (size_t)sprintf(end->head, "TUNNEL %" PRIu64 "\r\n\r\n", plan->number);
    else if (plan->kind == CONNECT)
        end->head_bytes = (size_t)sprintf(end->head, "CONNECT 127.0.0.1:%u HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n",
                                          run.origin_port, run.origin_port);
    else if (plan->kind == UPGRADE)
        end->head_bytes =
            side == ORIGIN
                ? (size_t)sprintf(end->head,
                                  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: bytes\r\n\r\n")
                : (size_t)sprintf(end->head,
                                  "GET /%" PRIu64
                                  " HTTP/1.1\r\nHost: bytes\r\nConnection: Upgrade\r\nUpgrade: bytes\r\n\r\n",
                                  plan->number);
    else if (side == ORIGIN)
        end->head_bytes = (size_t)sprintf(end->head, "HTTP/1.1 200 OK\r\n%s%s\r\n", framing,
                                          plan->leaves[side] ? "Connection: close\r\n" : "");
    else
        end->head_bytes = (size_t)sprintf(end->head, "%s /%" PRIu64 " HTTP/1.1\r\nHost: bytes\r\n%s%s\r\n",
                                          methods[plan->kind], plan->number, plan->kind == POST ? framing : "",
                                          plan->leaves[side] ? "Connection: close\r\n" : "");
}

static const char *field_find(const char *head, const char *name)
{
    size_t length = strlen(name);

    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, name, length) == 0 && line[2 + length] == ':')
            return line + 2 + length + 1 + strspn(line + 2 + length + 1, " ");
    return NULL;
}

/* What content follows the head in `line`. False: its length is not the plan's. */
static bool framing_read(struct end *end, bool any_length)
{
    const char *length = field_find(end->line, "content-length");

    if (field_find(end->line, "transfer-encoding")) {
        end->in = IN_CHUNK_LINE;
    } else if (length) {
        end->left = strtoull(length, NULL, 10);
        end->in = end->left ? IN_LENGTH : IN_DONE;
        return any_length || end->left == end->plan.bytes[other(end)];
    } else {
        end->in = end->side == ORIGIN ? IN_DONE : IN_STREAM;
        end->closes = true;
    }
    return true;
}

/* An exchange begins at the origin. False: the end is gone. */
static bool request_read(struct end *end)
{
    const char *slash = strncmp(end->line, "TUNNEL ", 7) == 0 ? end->line + 6 : strchr(end->line, '/');
    struct exchange *exchange = slash ? exchange_find(strtoull(slash + 1, NULL, 10)) : NULL;

    if (!exchange) {
        run.late++;
        end_close(end, true);
        return false;
    }
    end->exchange = exchange;
    end->plan = exchange->plan;
    end->progress_ms = run.now_ms;
    if (++exchange->heads > 1 && (exchange->answered || (end->plan.kind != GET && end->plan.kind != UPGRADE)))
        broken(&run.repeated, &end->plan, "the origin got its head %u times", exchange->heads);
    if (is_tunnel(end->plan.kind)) {
        end->in = IN_STREAM;
        end->sending = true;
    } else if (!framing_read(end, false)) {
        broken(&run.wrong, &end->plan, "the request says %" PRIu64 " bytes", end->left);
    }
    head_write(end);
    if (!end->sending)
        end->head_bytes = 0; /* until the request is complete */
    return true;
}

static void response_read(struct end *end)
{
    const char *connection = field_find(end->line, "connection");
    enum kind kind = end->plan.kind;

    end->status = atoi(end->line + 9);
    end->closes = connection && strncasecmp(connection, "close", 5) == 0;
    if (end->status == (kind == UPGRADE ? 101 : 200) && kind >= UPGRADE) {
        end->in = IN_STREAM;
        end->sending = true;
        if (kind == CONNECT) {
            end->plan.kind = TCP; /* from here on it is one */
            head_write(end);
        }
        return;
    }
    end->unchecked = end->status != 200;
    if (end->unchecked && !was_cut(end))
        broken(&run.unasked, &end->plan, "answered %d", end->status);
    if (!framing_read(end, end->unchecked))
        broken(&run.wrong, &end->plan, "the response says %" PRIu64 " bytes", end->left);
}

/* ---- sending ---------------------------------------------------------------------------------------------------------- */

static void chunk_begin(struct end *end)
{
    uint64_t left = end->plan.bytes[end->side] - end->sent;
    uint64_t state = end->plan.number ^ end->sent;
    const char *before = end->sent ? "\r\n" : "";

    end->frame_sent = 0;
    if (left) {
        end->chunk_left = dice(&state) % (end->sent % 2 ? 70000 : 5000) + 1;
        end->chunk_left = end->chunk_left < left ? end->chunk_left : left;
        end->frame_bytes = (size_t)sprintf(end->frame, "%s%" PRIx64 "\r\n", before, end->chunk_left);
    } else {
        end->wrote_last_chunk = true;
        end->frame_bytes = (size_t)sprintf(end->frame, "%s0\r\n\r\n", before);
    }
}

/* What is to go next. 0: nothing, or nothing now. *sent: the count that it adds to. */
static size_t piece_find(struct end *end, const char **bytes, bool *content)
{
    bool chunked = end->plan.chunked[end->side];
    uint64_t left = end->plan.bytes[end->side] - end->sent;
    size_t contiguous;

    *content = false;
    if (end->head_sent < end->head_bytes) {
        *bytes = end->head + end->head_sent;
        return end->head_bytes - end->head_sent;
    }
    if (!end->sending)
        return 0;
    if (chunked && end->frame_sent == end->frame_bytes && end->chunk_left == 0 && !end->wrote_last_chunk)
        chunk_begin(end);
    if (end->frame_sent < end->frame_bytes) {
        *bytes = end->frame + end->frame_sent;
        return end->frame_bytes - end->frame_sent;
    }
    *content = true;
    *bytes = content_at(end->plan.number, (enum way)end->side, end->sent, &contiguous);
    left = chunked && end->chunk_left < left ? end->chunk_left : left;
    left = left < end->plan.manner[end->side].send_bytes ? left : end->plan.manner[end->side].send_bytes;
    return left < contiguous ? left : contiguous;
}

/* All has been sent: what says that it was all. */
static void sending_over(struct end *end)
{
    end->sent_all = true;
    if (known(end))
        end->exchange->sent_all[end->side] = true;
    if (is_tunnel(end->plan.kind) || (end->side == ORIGIN && end->plan.leaves[ORIGIN])) {
        end->shut = true;
        shutdown(end->fd, SHUT_WR);
    }
}

static bool cut_is_due(const struct end *end)
{
    const struct plan *plan = &end->plan;

    if (plan->cutter != end->side || end->cut || end->lost || !end->exchange)
        return false;
    /* A connection that the origin keeps is not closed without a word: the proxy may be sending the next request on it. */
    if (end->side == ORIGIN && end->sent_all && !plan->leaves[ORIGIN] && !is_tunnel(plan->kind))
        return false;
    if (end->side == CLIENT && end->head_sent < end->head_bytes && plan->cut_by_received)
        return false;
    return plan->cut_by_received ? end->received >= plan->cut_at
                                 : end->sent_all || end->head_sent + end->sent >= plan->cut_at;
}

/* True: the end is gone. */
static bool cut_do(struct end *end)
{
    struct exchange *exchange = known(end);
    bool half = end->plan.cut == HALF;

    end->cut = true;
    run.cuts[end->plan.cut]++;
    if (!half ||
        (!end->sent_all && !(is_tunnel(end->plan.kind) && end->sending && end->head_sent == end->head_bytes))) {
        if (exchange)
            exchange->cut = true;
    } else if (exchange && !end->sent_all) {
        exchange->total[end->side] = end->sent; /* a stream that is shorter than was planned */
        exchange->sent_all[end->side] = true;
    }
    if (!half) {
        end_close(end, end->plan.cut == RESET);
        return true;
    }
    end->shut = true;
    shutdown(end->fd, SHUT_WR);
    return false;
}

static void count_sent(struct end *end, size_t bytes, bool content)
{
    end->progress_ms = run.now_ms;
    if (content) {
        end->sent += bytes;
        end->chunk_left -= end->plan.chunked[end->side] ? bytes : 0;
    } else if (end->head_sent < end->head_bytes) {
        end->head_sent += bytes;
        if (end->side == ORIGIN && is_tunnel(end->plan.kind) && end->head_sent == end->head_bytes && known(end))
            end->exchange->answered = true;
    } else {
        end->frame_sent += bytes;
    }
}

/* True: the end is gone. */
static bool end_send(struct end *end)
{
    for (int pieces = 0; pieces < PIECES && !end->shut && !end->lost; pieces++) {
        const char *bytes;
        bool content;
        size_t count;
        ssize_t n;

        if (cut_is_due(end))
            return cut_do(end);
        count = piece_find(end, &bytes, &content);
        if (count && end->plan.cutter == end->side && !end->plan.cut_by_received &&
            end->head_sent + end->sent + count > end->plan.cut_at && (content || end->head_sent < end->head_bytes))
            count = (size_t)(end->plan.cut_at - end->head_sent - end->sent);
        if (!count && end->sending && !end->sent_all)
            sending_over(end);
        if (!count)
            return cut_is_due(end) && cut_do(end);
        n = send(end->fd, bytes, count, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return false;
        if (n <= 0) {
            end->lost = true; /* why, reading will tell */
            return false;
        }
        count_sent(end, (size_t)n, content);
        /* At once: the other end may see all of it before we are here again. */
        if (end->sending && piece_find(end, &bytes, &content) == 0) {
            sending_over(end);
            return cut_is_due(end) && cut_do(end);
        }
    }
    return false;
}

/* ---- receiving -------------------------------------------------------------------------------------------------------- */

static void content_check(struct end *end, const char *bytes, size_t count)
{
    enum way way = (enum way)other(end);
    size_t contiguous;

    if (!end->unchecked && (end->received + count > end->plan.bytes[way] ||
                            memcmp(bytes, content_at(end->plan.number, way, end->received, &contiguous), count) != 0))
        broken(&run.wrong, &end->plan, "wrong bytes %s between %" PRIu64 " and %" PRIu64, way == UP ? "up" : "down",
               end->received, end->received + count);
    end->received += count;
    run.bytes[way] += count;
}

/* The end of a response that the client has, or of a request that the origin has. True: the end is gone. */
static bool message_whole(struct end *end)
{
    struct exchange *exchange = known(end);

    end->in = IN_DONE;
    if (!end->unchecked && exchange && !exchange->sent_all[other(end)])
        broken(&run.false_whole, &end->plan, "%s looks complete after %" PRIu64 " bytes, and is not",
               end->side == CLIENT ? "the response" : "the request", end->received);
    if (!end->unchecked && end->received != end->plan.bytes[other(end)])
        broken(&run.wrong, &end->plan, "complete with %" PRIu64 " bytes", end->received);
    if (cut_is_due(end) && cut_do(end))
        return true;
    if (end->side == ORIGIN) {
        end->sending = true;
        head_write(end);
        return false;
    }
    if (end->unchecked)
        run.refused++;
    else
        run.complete++;
    if (end->closes || end->plan.leaves[CLIENT] || end->shut || !end->sent_all || end->lost) {
        end_close(end, false);
        return true;
    }
    client_whole(end);
    return true; /* what has come with it would be too much */
}

/* One line of chunked framing is in `line`. */
static bool chunk_line(struct end *end)
{
    if (end->in == IN_CHUNK_LINE) {
        end->left = strtoull(end->line, NULL, 16);
        end->in = end->left ? IN_CHUNK : IN_TRAILER;
    } else if (end->in == IN_CHUNK_END) {
        end->in = IN_CHUNK_LINE;
    } else if (end->line_bytes == 2) {
        return message_whole(end);
    }
    return false;
}

/* Takes bytes up to the end of a head or line. How many; *gone: the end. */
static size_t line_take(struct end *end, const char *bytes, size_t count, bool *gone)
{
    bool head = end->in == IN_HEAD;

    for (size_t i = 0; i < count; i++) {
        if (end->line_bytes == sizeof end->line - 1) {
            broken(&run.wrong, &end->plan, "a head or line without an end");
            end_close(end, true);
            *gone = true;
            return i;
        }
        end->line[end->line_bytes++] = bytes[i];
        end->line[end->line_bytes] = 0;
        if (bytes[i] != '\n' ||
            (head && (end->line_bytes < 4 || memcmp(end->line + end->line_bytes - 4, "\r\n\r\n", 4) != 0)))
            continue;
        if (!head)
            *gone = chunk_line(end);
        else if (end->side == ORIGIN)
            *gone = !request_read(end);
        else
            response_read(end);
        if (!*gone) {
            end->line_bytes = 0;
            *gone = head && end->in == IN_DONE && message_whole(end);
        }
        return i + 1;
    }
    return count;
}

/* True: the end is gone. */
static bool feed(struct end *end, const char *bytes, size_t count)
{
    bool gone = false;

    while (count && !gone) {
        size_t n = count;

        switch (end->in) {
        case IN_HEAD:
        case IN_CHUNK_LINE:
        case IN_CHUNK_END:
        case IN_TRAILER: n = line_take(end, bytes, count, &gone); break;
        case IN_LENGTH:
        case IN_CHUNK:
            n = count < end->left ? count : (size_t)end->left;
            content_check(end, bytes, n);
            end->left -= n;
            if (end->left == 0 && end->in == IN_CHUNK)
                end->in = IN_CHUNK_END;
            else if (end->left == 0)
                gone = message_whole(end);
            break;
        case IN_STREAM: content_check(end, bytes, n); break;
        case IN_DONE:
            broken(&run.wrong, &end->plan, "%zu bytes behind the end", count);
            end_close(end, true);
            return true;
        }
        bytes += n;
        count -= n;
    }
    return gone;
}

/* The stream of a tunnel has come to its end, by FIN or reset. True: the end is gone. */
static bool stream_ended(struct end *end, bool reset)
{
    struct exchange *exchange = known(end);
    enum side from = other(end);

    if (!reset && exchange) {
        bool whole = exchange->sent_all[from] && end->received == exchange->total[from];

        if (!whole && !exchange->cut)
            broken(&run.unasked, &end->plan, "a stream ended after %" PRIu64 " of %" PRIu64 " bytes, and nobody cut it",
                   end->received, exchange->total[from]);
        else if (!whole && exchange->plan.cutter == from && exchange->plan.cut == RESET && !exchange->sent_all[from])
            broken(&run.lost_reset, &end->plan, "a reset came as an end after %" PRIu64 " bytes", end->received);
        end->in = IN_DONE;
        if (!end->shut && !end->lost)
            return false;
        run.complete += end->side == CLIENT && whole && !exchange->cut;
    } else if (exchange && !exchange->cut) {
        broken(&run.unasked, &end->plan, "a reset after %" PRIu64 " bytes, and nobody cut it", end->received);
    }
    end_close(end, reset);
    return true;
}

/* Nothing more will come. True: the end is gone. */
static bool end_ended(struct end *end, bool reset)
{
    if (end->exchange && is_tunnel(end->plan.kind) && end->in == IN_STREAM)
        return stream_ended(end, reset);
    if (end->side == CLIENT && end->in == IN_STREAM && !reset) /* by the end of the connection */
        return message_whole(end);
    if (end->exchange && !(end->side == ORIGIN && end->sent_all && end->in == IN_DONE) && !was_cut(end))
        broken(&run.unasked, &end->plan,
               "%s ended by %s: %" PRIu64 " bytes sent, %" PRIu64 " came, state %d, and nobody cut it",
               end->side == CLIENT ? "the client's connection" : "the origin's connection", reset ? "reset" : "FIN",
               end->sent, end->received, end->in);
    end_close(end, reset);
    return true;
}

static void pause_begin(struct end *end, uint64_t before)
{
    const struct manner *manner = &end->plan.manner[end->side];

    if (manner->pause_ms && before <= manner->pause_at && end->received > manner->pause_at)
        end->paused_until_ms = run.now_ms + manner->pause_ms;
}

/* True: the end is gone. */
static bool end_receive(struct end *end)
{
    size_t room = end->exchange ? end->plan.manner[end->side].receive_bytes : sizeof buffer;
    uint64_t before = end->received;
    ssize_t n = recv(end->fd, buffer, room, 0);

    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0)
        return end_ended(end, n < 0 || end->lost); /* a reset is told once: perhaps to send */
    end->progress_ms = run.now_ms;
    if (feed(end, buffer, (size_t)n))
        return true;
    pause_begin(end, before);
    return cut_is_due(end) && cut_do(end);
}

/* ---- beginning and events ----------------------------------------------------------------------------------------------- */

static void end_reset(struct end *end)
{
    end->exchange = NULL;
    end->paused_until_ms = 0;
    end->sending = end->sent_all = end->shut = end->cut = end->wrote_last_chunk = end->lost = false;
    end->head_bytes = end->head_sent = end->frame_bytes = end->frame_sent = end->line_bytes = 0;
    end->sent = end->chunk_left = end->received = end->left = 0;
    end->in = IN_HEAD;
    end->unchecked = end->closes = false;
    end->status = 0;
}

void end_begin(struct end *end, struct exchange *exchange)
{
    end_reset(end);
    end->exchange = exchange;
    end->plan = exchange->plan;
    end->progress_ms = run.now_ms;
    end->sending = end->plan.kind <= POST || end->plan.kind == TCP;
    if (end->plan.kind == TCP)
        end->in = IN_STREAM;
    head_write(end);
    end_watch(end);
}

/* True: the end is gone. */
static bool ready(struct end *end, uint32_t events)
{
    if (events & (EPOLLERR | EPOLLHUP))
        end->paused_until_ms = 0;
    if ((events & EPOLLOUT) && end_send(end))
        return true;
    if (end->side == ORIGIN && end->exchange && end->in == IN_DONE && end->sent_all && !end->shut &&
        !is_tunnel(end->plan.kind))
        end_reset(end); /* kept for the next request */
    if (end->paused_until_ms <= run.now_ms && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) && end_receive(end))
        return true;
    if (!end->exchange || !is_tunnel(end->plan.kind) || end->in != IN_DONE || !(end->shut || end->lost))
        return false;
    run.complete += end->side == CLIENT && !was_cut(end);
    if (end->lost && !was_cut(end))
        broken(&run.unasked, &end->plan, "a stream was refused after %" PRIu64 " bytes, and nobody cut it", end->sent);
    end_close(end, false);
    return true;
}

void end_event(struct end *end, uint32_t events)
{
    if (!ready(end, events))
        end_watch(end);
}

void end_look(struct end *end)
{
    if (end->exchange && run.now_ms > end->progress_ms + PATIENCE_MS) {
        broken(&run.stuck, &end->plan,
               "%s waits: %" PRIu64 " bytes sent, %" PRIu64 " came, state %d, sent all %d, shut %d",
               end->side == CLIENT ? "the client" : "the origin", end->sent, end->received, end->in, end->sent_all,
               end->shut);
        end_close(end, true);
        return;
    }
    end_watch(end);
}
