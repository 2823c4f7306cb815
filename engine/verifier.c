#include "engine/verifier.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/base/random.h"
#include "proto/basic_auth.h"
#include "proto/tls_mac.h"

#define RING_ENTRIES 256u
#define NICENESS 5 /* requests come first */
#define WAYS 4u    /* places in a table that one mark may take */

struct verifier_question {
    struct letter letter; /* to the thread, and back */
    struct verifier_side *side;
    struct verifier_question *next;   /* the side's: free, or asked */
    struct verifier_question *behind; /* the thread's: in line */
    struct verifier_question *copies; /* the thread's: other workers' that ask the same */
    struct wait *waits;
    struct passwords *passwords; /* a reference while it is asked */
    uint64_t round;              /* of its client's, in line */
    uint8_t mark[TLS_MAC_BYTES]; /* what the credentials are remembered by */
    uint8_t client[16];
    enum verified verdict;
    uint16_t user_length, password_length;
    char text[BASIC_AUTH_USER_MAX + BASIC_AUTH_PASSWORD_MAX]; /* both; wiped with the answer */
};

/* What is remembered: marks, in sets of WAYS. */
struct memory {
    struct memory_place {
        uint8_t mark[TLS_MAC_BYTES];
        uint64_t until_ms; /* 0: empty */
    } *places;
    uint32_t count;
};

struct verifier_side {
    struct verifier *verifier;
    struct loop *loop;
    struct memory proven, wrong;
    struct verifier_question *free, *asked;
    struct verifier_question questions[VERIFIER_QUESTIONS_MAX];
};

struct verifier {
    struct loop loop;
    pthread_t thread;
    uint8_t key[TLS_MAC_BYTES];
    _Atomic bool stopping;
    _Atomic uint64_t hashed, busy;
    struct verifier_question *line; /* those that wait, as they came */
    uint32_t waiting;
    uint64_t round; /* of the one that was served last */
    void *room;     /* crypt(3)'s */
    int end_fd;     /* becomes readable when the thread is to end */
    struct op end_op;
    uint64_t end_count;
    enum err result; /* of the start */
    char *why;
    sem_t ready;
};

/* Memory --------------------------------------------------------------------------------------------------------- */

static struct memory_place *set_of(const struct memory *memory, const uint8_t mark[TLS_MAC_BYTES])
{
    uint32_t number;
    memcpy(&number, mark, sizeof number);
    return &memory->places[number % (memory->count / WAYS) * WAYS];
}

static bool knows(const struct memory *memory, const uint8_t mark[TLS_MAC_BYTES], uint64_t now_ms)
{
    const struct memory_place *set = set_of(memory, mark);
    for (unsigned i = 0; i < WAYS; i++)
        if (set[i].until_ms > now_ms && memcmp(set[i].mark, mark, TLS_MAC_BYTES) == 0)
            return true;
    return false;
}

/* In the place of the same mark, else of the one that would be forgotten first. */
static void remember(struct memory *memory, const uint8_t mark[TLS_MAC_BYTES], uint64_t until_ms)
{
    struct memory_place *set = set_of(memory, mark), *place = set;
    for (unsigned i = 0; i < WAYS; i++) {
        if (memcmp(set[i].mark, mark, TLS_MAC_BYTES) == 0) {
            place = &set[i];
            break;
        }
        if (set[i].until_ms < place->until_ms)
            place = &set[i];
    }
    memcpy(place->mark, mark, TLS_MAC_BYTES);
    place->until_ms = until_ms;
}

/* The line, on the thread ----------------------------------------------------------------------------------------- */

static void answer_comes(struct letter *letter, struct loop *here);

/* The question is its worker's again. */
static void send_back(struct verifier *verifier, struct verifier_question *question, enum verified verdict)
{
    question->verdict = verdict;
    question->letter.deliver = answer_comes;
    if (verdict == VERIFIED_BUSY)
        atomic_fetch_add_explicit(&verifier->busy, 1, memory_order_relaxed);
    mailbox_send(&verifier->loop, question->side->loop, &question->letter);
}

static void answer(struct verifier *verifier, struct verifier_question *question, enum verified verdict)
{
    struct verifier_question *copy = question->copies;
    send_back(verifier, question, verdict);
    while (copy) {
        struct verifier_question *next = copy->behind;
        send_back(verifier, copy, verdict);
        copy = next;
    }
}

static bool is_of(const struct verifier_question *question, const uint8_t client[16])
{
    return memcmp(question->client, client, sizeof question->client) == 0;
}

static uint32_t count_of(const struct verifier *verifier, const uint8_t client[16])
{
    uint32_t count = 0;
    for (const struct verifier_question *q = verifier->line; q; q = q->behind)
        count += is_of(q, client);
    return count;
}

static void take_off(struct verifier *verifier, struct verifier_question *question)
{
    struct verifier_question **at = &verifier->line;
    while (*at != question)
        at = &(*at)->behind;
    *at = question->behind;
    verifier->waiting--;
}

/* In a full line: the last question of the client that has the most, if that is more than the newcomer would have. */
static bool make_place(struct verifier *verifier, uint32_t newcomers)
{
    struct verifier_question *victim = NULL;
    uint32_t most = 0;
    for (struct verifier_question *q = verifier->line; q; q = q->behind) {
        uint32_t count = count_of(verifier, q->client);
        if (count > most || (count == most && is_of(q, victim->client))) {
            most = count;
            victim = q;
        }
    }
    if (!victim || most <= newcomers + 1)
        return false;
    take_off(verifier, victim);
    answer(verifier, victim, VERIFIED_BUSY);
    return true;
}

static struct verifier_question *find_same(struct verifier *verifier, const struct verifier_question *question)
{
    for (struct verifier_question *q = verifier->line; q; q = q->behind)
        if (memcmp(q->mark, question->mark, TLS_MAC_BYTES) == 0)
            return q;
    return NULL;
}

/* One round behind the last of its client, or in the round that is being served. */
static void line_up(struct verifier *verifier, struct verifier_question *question)
{
    struct verifier_question **at = &verifier->line;
    question->round = verifier->round;
    for (; *at; at = &(*at)->behind)
        if (is_of(*at, question->client))
            question->round = (*at)->round + 1;
    *at = question;
    question->behind = NULL;
    verifier->waiting++;
}

static void question_comes(struct letter *letter, struct loop *here)
{
    struct verifier_question *question = CONTAINER_OF(letter, struct verifier_question, letter);
    struct verifier *verifier = CONTAINER_OF(here, struct verifier, loop);
    struct verifier_question *same = find_same(verifier, question);
    uint32_t count = count_of(verifier, question->client);
    question->copies = NULL;
    if (atomic_load(&verifier->stopping)) {
        send_back(verifier, question, VERIFIED_BUSY);
    } else if (same) {
        question->behind = same->copies;
        same->copies = question;
    } else if (count < VERIFIER_CLIENT_MAX && (verifier->waiting < VERIFIER_LINE_MAX || make_place(verifier, count))) {
        line_up(verifier, question);
    } else {
        send_back(verifier, question, VERIFIED_BUSY);
    }
}

static struct verifier_question *take_next(struct verifier *verifier)
{
    struct verifier_question *first = verifier->line;
    for (struct verifier_question *q = verifier->line; q; q = q->behind)
        if (q->round < first->round)
            first = q;
    if (!first)
        return NULL;
    verifier->round = first->round;
    take_off(verifier, first);
    return first;
}

/* Someone who is not there costs as much as someone who is. */
static enum verified hash(struct verifier *verifier, const struct verifier_question *question)
{
    bool known;
    const char *wanted = passwords_hash(question->passwords, slice_of(question->text, question->user_length), &known);
    bool same = passwords_match(wanted, slice_of(question->text + question->user_length, question->password_length), verifier->room);
    atomic_fetch_add_explicit(&verifier->hashed, 1, memory_order_relaxed);
    return same & known ? VERIFIED_YES : VERIFIED_NO;
}

/* One password a turn: what came meanwhile is let into the line before the next one is chosen. */
static void serve_line(struct loop *loop)
{
    struct verifier *verifier = CONTAINER_OF(loop, struct verifier, loop);
    struct verifier_question *question = take_next(verifier);
    if (!question)
        return;
    answer(verifier, question, atomic_load(&verifier->stopping) ? VERIFIED_BUSY : hash(verifier, question));
    loop->again = verifier->line != NULL;
}

/* The thread ------------------------------------------------------------------------------------------------------- */

static void end_comes(struct op *op, int32_t result, uint32_t flags)
{
    struct verifier *verifier = CONTAINER_OF(op, struct verifier, end_op);
    (void)result;
    (void)flags;
    verifier->loop.stop = true;
}

static void *verifier_main(void *argument)
{
    struct verifier *verifier = argument;
    verifier->result = loop_init(&verifier->loop, LOOP_CONTROL, RING_ENTRIES, verifier->why);
    bool well = verifier->result == ERR_OK;
    if (well) {
        verifier->loop.end_of_turn = serve_line;
        verifier->end_op.done = end_comes;
        op_read(&verifier->loop.ring, &verifier->end_op, verifier->end_fd, &verifier->end_count, sizeof verifier->end_count, 0);
        setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICENESS);
    }
    sem_post(&verifier->ready);
    if (!well)
        return NULL;
    loop_run(&verifier->loop);
    ring_detach(&verifier->loop.ring); /* verifier_free releases it, from another thread */
    return NULL;
}

/* Signals are the control thread's. */
static int start_thread(struct verifier *verifier)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = FAULT("verifier") ? EAGAIN : pthread_create(&verifier->thread, NULL, verifier_main, verifier);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static void release(struct verifier *verifier)
{
    if (verifier->end_fd >= 0)
        close(verifier->end_fd);
    sem_destroy(&verifier->ready);
    explicit_bzero(verifier->key, sizeof verifier->key);
    free(verifier->room);
    free(verifier);
}

static bool prepare(struct verifier *verifier)
{
    verifier->room = FAULT("verifier") ? NULL : malloc(PASSWORDS_ROOM_BYTES);
    verifier->end_fd = FAULT("verifier") ? -1 : eventfd(0, EFD_CLOEXEC);
    sem_init(&verifier->ready, 0, 0);
    return verifier->room && verifier->end_fd >= 0 && random_block(verifier->key, sizeof verifier->key) == 0;
}

struct verifier *verifier_new(char why[256])
{
    struct verifier *verifier = FAULT("verifier") ? NULL : calloc(1, sizeof *verifier);
    snprintf(why, 256, "no memory for the thread that checks passwords");
    if (!verifier)
        return NULL;
    if (!prepare(verifier)) {
        release(verifier);
        return NULL;
    }
    verifier->why = why;
    int error = start_thread(verifier);
    if (error) {
        snprintf(why, 256, "no thread to check passwords: %s", strerror(error));
        release(verifier);
        return NULL;
    }
    while (sem_wait(&verifier->ready) < 0 && errno == EINTR)
        continue;
    if (verifier->result == ERR_OK)
        return verifier;
    pthread_join(verifier->thread, NULL);
    release(verifier);
    return NULL;
}

void verifier_stop(struct verifier *verifier)
{
    if (verifier)
        atomic_store(&verifier->stopping, true);
}

void verifier_free(struct verifier *verifier)
{
    uint64_t one = 1;
    if (!verifier)
        return;
    MUST(write(verifier->end_fd, &one, sizeof one) == sizeof one);
    pthread_join(verifier->thread, NULL);
    MUST(verifier->line == NULL);
    loop_release(&verifier->loop);
    release(verifier);
}

struct verifier_counts verifier_counts(const struct verifier *verifier)
{
    return (struct verifier_counts){ atomic_load_explicit(&verifier->hashed, memory_order_relaxed), atomic_load_explicit(&verifier->busy, memory_order_relaxed) };
}

/* A worker's side -------------------------------------------------------------------------------------------------- */

struct verifier_side *verifier_side_new(struct verifier *verifier, struct loop *loop)
{
    struct verifier_side *side = FAULT("verifier") ? NULL : calloc(1, sizeof *side);
    if (!side)
        return NULL;
    side->verifier = verifier;
    side->loop = loop;
    side->proven.count = VERIFIER_PROVEN_MAX;
    side->wrong.count = VERIFIER_WRONG_MAX;
    side->proven.places = FAULT("verifier") ? NULL : calloc(side->proven.count, sizeof *side->proven.places);
    side->wrong.places = FAULT("verifier") ? NULL : calloc(side->wrong.count, sizeof *side->wrong.places);
    for (unsigned i = 0; i < VERIFIER_QUESTIONS_MAX; i++) {
        side->questions[i].side = side;
        side->questions[i].next = side->free;
        side->free = &side->questions[i];
    }
    if (side->proven.places && side->wrong.places)
        return side;
    verifier_side_free(side);
    return NULL;
}

bool verifier_side_quiet(const struct verifier_side *side)
{
    return !side || !side->asked;
}

void verifier_side_free(struct verifier_side *side)
{
    if (!side)
        return;
    MUST(!side->asked);
    free(side->proven.places);
    free(side->wrong.places);
    free(side);
}

/* Each field has its length before it or is the last one, so that no two credentials give the same message. */
static enum err mark_of(const struct verifier *verifier, const struct passwords *passwords, struct slice user, struct slice password, uint8_t mark[TLS_MAC_BYTES])
{
    char message[sizeof(uint64_t) + sizeof(uint16_t) + BASIC_AUTH_USER_MAX + BASIC_AUTH_PASSWORD_MAX];
    uint64_t serial = passwords_serial(passwords);
    uint16_t user_length = (uint16_t)user.length;
    char *at = message;
    memcpy(at, &serial, sizeof serial);
    at += sizeof serial;
    memcpy(at, &user_length, sizeof user_length);
    at += sizeof user_length;
    if (user.length)
        memcpy(at, user.at, user.length);
    at += user.length;
    if (password.length)
        memcpy(at, password.at, password.length);
    at += password.length;
    enum err e = tls_mac(slice_of((const char *)verifier->key, sizeof verifier->key), slice_of(message, (size_t)(at - message)), mark);
    explicit_bzero(message, sizeof message);
    return e;
}

/* An IPv6 client has a /64 to itself and many addresses in it. */
static void name_client(struct verifier_question *question, const uint8_t client[16])
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    memcpy(question->client, client, 16);
    if (memcmp(client, mapped, sizeof mapped) != 0)
        memset(question->client + 8, 0, 8);
}

static void fill(struct verifier_question *question, struct passwords *passwords, struct slice user, struct slice password)
{
    question->passwords = passwords_ref(passwords);
    question->user_length = (uint16_t)user.length;
    question->password_length = (uint16_t)password.length;
    if (user.length)
        memcpy(question->text, user.at, user.length);
    if (password.length)
        memcpy(question->text + user.length, password.at, password.length);
}

static struct verifier_question *find_asked(const struct verifier_side *side, const uint8_t mark[TLS_MAC_BYTES])
{
    for (struct verifier_question *q = side->asked; q; q = q->next)
        if (memcmp(q->mark, mark, TLS_MAC_BYTES) == 0)
            return q;
    return NULL;
}

enum verified verifier_ask(struct verifier_side *side, struct passwords *passwords, struct slice user, struct slice password,
                           const uint8_t client[16], struct verifier_wait *wait)
{
    uint8_t mark[TLS_MAC_BYTES];
    MUST(!verifier_waits(wait));
    if (user.length > BASIC_AUTH_USER_MAX || password.length > BASIC_AUTH_PASSWORD_MAX)
        return VERIFIED_NO;
    if (mark_of(side->verifier, passwords, user, password, mark) != ERR_OK)
        return VERIFIED_BUSY;
    if (knows(&side->proven, mark, side->loop->now_ms))
        return VERIFIED_YES;
    if (knows(&side->wrong, mark, side->loop->now_ms))
        return VERIFIED_NO;
    struct verifier_question *question = find_asked(side, mark);
    if (!question) {
        question = side->free;
        if (!question || atomic_load(&side->verifier->stopping))
            return VERIFIED_BUSY;
        side->free = question->next;
        question->next = side->asked;
        side->asked = question;
        memcpy(question->mark, mark, sizeof mark);
        name_client(question, client);
        fill(question, passwords, user, password);
        question->letter.deliver = question_comes;
        mailbox_send(side->loop, &side->verifier->loop, &question->letter);
    }
    wait_join(&question->waits, &wait->wait);
    return VERIFIED_WAIT;
}

static void give_back(struct verifier_side *side, struct verifier_question *question)
{
    struct verifier_question **at = &side->asked;
    while (*at != question)
        at = &(*at)->next;
    *at = question->next;
    explicit_bzero(question->text, sizeof question->text);
    passwords_unref(question->passwords);
    question->passwords = NULL;
    question->next = side->free;
    side->free = question;
}

static void answer_comes(struct letter *letter, struct loop *here)
{
    struct verifier_question *question = CONTAINER_OF(letter, struct verifier_question, letter);
    struct verifier_side *side = question->side;
    struct wait *waits;
    enum verified verdict = question->verdict;
    if (verdict == VERIFIED_YES)
        remember(&side->proven, question->mark, here->now_ms + VERIFIER_PROVEN_MS);
    if (verdict == VERIFIED_NO)
        remember(&side->wrong, question->mark, here->now_ms + VERIFIER_WRONG_MS);
    waits_take(&question->waits, &waits);
    give_back(side, question);
    while (waits) {
        struct verifier_wait *wait = CONTAINER_OF(waits, struct verifier_wait, wait);
        verifier_leave(wait);
        wait->answered(wait, verdict);
    }
}
