/* The world: how it begins, and its judgement after each step. */
#include "takeover.h"
#include "servers.c"
#include "clients.c"

extern int Printf(const char *, ...);

enum promise { KEPT, STALE, LOST, SILENT, HELD_UP };

static const char *promises[] = {
    "nothing",
    "a confirmed read is older than what was acknowledged before it began",
    "what was acknowledged is held by nobody",
    "left alone, those responsible do not come to speak and to hold what was acknowledged",
    "while a minority is down, nobody can write",
};

/* ---- left alone ---- */

static void turn(World *w, int i) {
    if (can_join(w, i)) do_join(w, i);
    for (int j = 0; j < NODES; j++) {
        if (may_ask(w, i, j)) do_pull(w, i, j);
    }
#ifdef FORGETTING
    if (can_exchange(w, i)) do_exchange(w, i);
#endif
    if (can_settle(w, i)) do_settle(w, i);
}

/* Nothing fails any more, and who was down is back: they take turns, then compare what they hold. */
static int settles(const World *world, int step) {
    World then = *world, *w = &then;
    for (int i = 0; i < NODES; i++)
        if (!up(w, i) && saved(w, i)) do_restart(w, i);
    for (int round = 0; round < 4 + NODES; round++)
        for (int k = 0, i = 0; k < NODES; k++, i = (i + step) % NODES) turn(w, i);
    Set set = closest(ALL, REPLICAS);
    u8 newest = 0;
    for (int i = 0; i < NODES; i++) {
        if (HAS(set, i) && (!speaks(w, i) || responsible(w, i) != set)) return 0;
        if (w->node[i].value > newest) newest = w->node[i].value;
    }
    return newest >= w->acknowledged;
}

#ifdef PROMPT
/* Nobody comes back, and nobody is forgotten: whether a majority comes to speak. */
static int writable(const World *world) {
    World then = *world, *w = &then;
    int live = 0;
    for (int i = 0; i < NODES; i++) live += HAS(OLD, i) && up(w, i);
    if (live < majority(REPLICAS)) return 1;
    for (int round = 0; round < 4; round++)
        for (int i = 0; i < NODES; i++)
            if (w->node[i].phase == TAKING) {
                for (int j = 0; j < NODES; j++)
                    if (may_ask(w, i, j)) do_pull(w, i, j);
                if (can_settle(w, i)) do_settle(w, i);
            }
    Client c = {0};
    for (int i = 0; i < NODES; i++)
        if (up(w, i) && w->node[i].members) hear_answer(w, &c, i);
    return SIZE(members(&c) & c.authorities) >= majority(SIZE(members(&c)));
}
#endif

static int under_way(const World *w) {
    if (pulls_under_way(w)) return 1;
    for (int k = 0; k < WRITERS; k++)
        if (w->writer[k].busy) return 1;
    return w->reader.busy;
}

/* Whoever asks whichever servers now. */
static int misled(const World *w) {
    for (Set asked = 1; asked <= ALL; asked++) {
        Client c = {0};
        for (int m = NODES - 1; m >= 0; m--)
            if (HAS(asked, m) && up(w, m)) hear_answer(w, &c, m);
        if (c.named && confirmed(&c) && c.version < w->acknowledged) return 1;
    }
    return 0;
}

static int judge(const World *w) {
    u8 newest = 0;
    if (w->acknowledged && misled(w)) return STALE;
    if (w->reader.busy == 2 && !w->reader.version) return STALE;
    for (int i = 0; i < NODES; i++)
        if (w->node[i].value > newest) newest = w->node[i].value;
    if (newest < w->acknowledged) return LOST;
    if (!under_way(w) && !(settles(w, 1) && settles(w, NODES - 1))) return SILENT;
#ifdef PROMPT
    if (!under_way(w) && !writable(w)) return HELD_UP;
#endif
    return KEPT;
}

/* ---- in words ---- */

static void tell_set(const char *what, Set set) {
    if (!set) return;
    Printf(" %s", what);
    for (int i = 0; i < NODES; i++)
        if (HAS(set, i)) Printf(" %d", i);
}

static void tell_client(const char *who, const Client *c, const char *what) {
    if (!c->busy) return;
    Printf("    %s %s %d,", who, what, c->version);
    tell_set("named", c->named);
    tell_set("| speak", c->authorities);
    tell_set("| stored", c->stored);
    Printf("\n");
}

/* Printed only when spin replays a trail: the step, then every server and client. */
static void tell(const World *w, const char *step) {
    static const char *phases[] = {"down", "takes over", "settled", "exchanges"};
    Printf("%s\n", step);
    for (int i = 0; i < NODES; i++) {
        const Node *n = &w->node[i];
        Printf("    %d %-10s%s holds %d", i, phases[n->phase], speaks(w, i) ? ", speaks," : "", n->value);
        tell_set("| counts", n->members);
        if (saved(w, i) != n->members) tell_set("| saved", saved(w, i));
        tell_set("| handed over by", n->handed);
        tell_set("| without authority", n->answered & ~n->handed);
        tell_set("| gone", GONE(n));
        tell_set("| confirmed by", n->confirmed);
        for (int j = 0; j < NODES; j++)
            if (w->pull[i][j].stage == MADE) Printf(" | page of %d: %d", j, w->pull[i][j].value);
            else if (w->pull[i][j].stage) Printf(" | first page of %d", j);
        Printf("\n");
    }
    for (int k = 0; k < WRITERS; k++) tell_client("a writer", &w->writer[k], "stores");
    tell_client("the reader", &w->reader, "heard");
}

/* The REPLICAS closest of all are never displaced: their order does not matter. Of all their orders keep the least. */
static Set moved(Set set, const u8 *to) {
    Set then = 0;
    for (int i = 0; i < NODES; i++)
        if (HAS(set, i)) then |= ONE(to[i]);
    return then;
}

static void reorder(const World *w, World *then, const u8 *to) {
    *then = *w;
    for (int i = 0; i < NODES; i++) {
        Node *n = &then->node[to[i]];
        *n = w->node[i];
        n->members = moved(n->members, to);
        n->answered = moved(n->answered, to);
        n->handed = moved(n->handed, to);
        n->confirmed = moved(n->confirmed, to);
#ifdef SAVING
        n->saved = moved(n->saved, to);
#endif
#ifdef FORGETTING
        n->gone = moved(n->gone, to);
        n->going = moved(n->going, to);
        n->asked = moved(n->asked, to);
#endif
#ifdef SIDE_BY_SIDE
        n->newcomers = moved(n->newcomers, to);
        n->began = moved(n->began, to);
        n->established = moved(n->established, to);
#endif
        for (int j = 0; j < NODES; j++) {
            then->pull[to[i]][to[j]] = w->pull[i][j];
            then->pull[to[i]][to[j]].named = moved(w->pull[i][j].named, to);
#ifdef SIDE_BY_SIDE
            then->pull[to[i]][to[j]].newcomers = moved(w->pull[i][j].newcomers, to);
#endif
        }
    }
    for (int k = 0; k <= WRITERS; k++) {
        Client *c = k < WRITERS ? &then->writer[k] : &then->reader;
        c->named = moved(c->named, to);
        c->authorities = moved(c->authorities, to);
        c->stored = moved(c->stored, to);
    }
}

static void canonical(World *w) {
    World best = *w, then;
    u8 to[NODES];
    for (int i = 0; i < NODES; i++) to[i] = i;
    for (int orders = 1;; orders++) { /* in lexicographic order */
        int low = REPLICAS - 2, high = REPLICAS - 1;
        while (low >= 0 && to[low] > to[low + 1]) low--;
        if (low < 0) break;
        while (to[high] < to[low]) high--;
        u8 swap = to[low]; to[low] = to[high]; to[high] = swap;
        for (int a = low + 1, b = REPLICAS - 1; a < b; a++, b--) swap = to[a], to[a] = to[b], to[b] = swap;
        if (moved(MORTALS, to) != MORTALS) continue;
        reorder(w, &then, to);
        if (memcmp(&then, &best, sizeof then) < 0) best = then;
    }
    *w = best;
}

static void after(World *w) {
    for (int i = 0; i < NODES; i++) w->node[i].confirmed &= displaced(w, i) ? responsible(w, i) : 0;
    w->broken = judge(w);
    if (w->broken) Printf("BROKEN: %s\n", promises[w->broken]);
#ifndef NO_SYMMETRY
    canonical(w);
#endif
}

static void begin(World *w) {
    memset(w, 0, sizeof *w);
    for (int i = 0; i < NODES; i++) {
        Node *n = &w->node[i];
        if (!HAS(OLD, i)) continue;
        n->phase = SETTLED;
        n->members = OLD & ~ONE(i);
#ifdef SAVING
        n->saved = n->members;
#endif
        n->counted = 1;
    }
    w->crashes = CRASHES;
    w->losses = LOSSES;
}
