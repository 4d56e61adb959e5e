/* Writers and a reader: what they are answered, and when they have enough (peerstack/dht/quorum.py). */
#include "takeover.h"

static Set members(const Client *c) { return closest(c->named, REPLICAS); }
static void forget_client(Client *c) { memset(c, 0, sizeof *c); }

/* ---- writing ---- */

/* It begins with anybody, and goes on with whom it counts. */
static int can_store(const World *w, int k, int m) {
    const Client *c = &w->writer[k];
    if (!up(w, m) || w->reader.busy) return 0;
    if (!c->busy) return w->versions < VERSIONS;
    return (!c->named || HAS(members(c), m)) && !HAS(c->stored & c->authorities, m);
}

static int acknowledged(const Client *c) {
    Set counted = members(c) & c->stored & c->authorities;
#ifdef ANYBODY_STORES
    counted = members(c) & c->stored;
#endif
    return SIZE(counted) >= majority(SIZE(members(c)));
}

/* m commits, and its acknowledgement says whom it counts and whether it speaks; it arrives, or does not. */
static void do_store(World *w, int k, int m, int arrives) {
    Client *c = &w->writer[k];
    if (!c->busy) {
        c->busy = 1;
        c->version = ++w->versions;
#ifdef WRITER_DEAF
        c->named = responsible(w, m);
#endif
    }
    int superseded = w->node[m].value > c->version;
    store(&w->node[m], c->version);
    if (!arrives) return;
    if (!superseded) c->stored |= ONE(m);
    if (speaks(w, m)) c->authorities |= ONE(m);
#ifndef WRITER_DEAF
    c->named |= responsible(w, m);
#endif
    if (!acknowledged(c)) return;
    if (c->version > w->acknowledged) w->acknowledged = c->version;
    forget_client(c);
}

static int can_lose_ack(const World *w, int k, int m) { return can_store(w, k, m) && (!w->writer[k].busy || w->node[m].value < w->writer[k].version); }

static int can_give_up(const World *w, int k) { return w->writer[k].busy && !w->reader.busy && w->versions < VERSIONS; }
static void do_give_up(World *w, int k) { forget_client(&w->writer[k]); }

/* ---- reading ---- */

/* Whatever is older than what it must not miss is nothing to it; what writers still do can only help it, so they do nothing more. */
static void begin_to_read(World *w) {
    u8 floor = w->acknowledged;
    for (int i = 0; i < NODES; i++) {
        w->node[i].value = w->node[i].value >= floor;
        for (int j = 0; j < NODES; j++) w->pull[i][j].value = w->pull[i][j].value >= floor;
    }
    for (int k = 0; k < WRITERS; k++) forget_client(&w->writer[k]);
    w->acknowledged = 1;
    w->versions = VERSIONS;
    w->reader.busy = 1;
}

static int can_get(const World *w, int m) { return w->acknowledged && w->reader.busy < 2 && !HAS(w->reader.authorities, m) && up(w, m); }

static int confirmed(const Client *c) {
    int needed = read_quorum(SIZE(members(c)));
#ifdef ONE_ANSWER_LESS
    needed--;
#endif
    return SIZE(members(c) & c->authorities) >= needed;
}

static void hear_answer(const World *w, Client *c, int m) {
    if (w->node[m].value > c->version) c->version = w->node[m].value;
    if (speaks(w, m)) c->authorities |= ONE(m);
#ifdef ANYBODY_ANSWERS
    c->authorities |= ONE(m);
#endif
#ifdef READER_DEAF
    if (!c->named)
#endif
    c->named |= responsible(w, m);
}

static void do_get(World *w, int m) {
    Client *c = &w->reader;
    if (!c->busy) begin_to_read(w);
    hear_answer(w, c, m);
    if (confirmed(c)) c->busy = 2; /* what it said is judged; nothing hangs on it */
}
