/* What servers do: count, hand over, take over, crash, restart, forget, let go of what is displaced. */
#include "takeover.h"
#include <string.h>

static Set closest(Set of, int count) {
    Set found = 0;
    for (int i = 0; i < NODES && count > 0; i++)
        if (HAS(of, i)) found |= ONE(i), count--;
    return found;
}

static int majority(int n) { return n / 2 + 1; }
static int read_quorum(int n) { return n - majority(n) + 1; }

static int up(const World *w, int i) { return w->node[i].phase != OUT; }
static int settled(const World *w, int i) { return w->node[i].phase >= SETTLED; }

#ifdef FORGETTING
#define GONE(n) ((n)->gone)
#else
#define GONE(n) 0
#endif

/* Neighbourhood.responsible */
static Set responsible(const World *w, int i) { return closest(w->node[i].members | ONE(i), REPLICAS); }

#ifdef SIDE_BY_SIDE
/* Fellow newcomers: they handed over without authority, and none of the sources in authority counts them as more than that. */
static Set beside(const Node *n) {
#ifdef BESIDE_ANYBODY
    return n->answered & ~n->handed;
#elif defined(BESIDE_UNHEARD)
    return n->newcomers & ~n->handed & ~n->established;
#else
    return n->answered & ~n->handed & ~n->established;
#endif
}
#endif

/* Neighbourhood._has_majority: of the set that it takes over from. */
static int has_majority(const Node *n, int i) {
    Set candidates = n->counted ? n->members | ONE(i) : n->members;
#ifdef SIDE_BY_SIDE
    if (!n->counted) candidates &= ~beside(n);
#endif
    Set entered = closest(candidates, REPLICAS), votes = entered & n->handed;
#ifdef OWN_VOTE
    votes |= entered & ONE(i);
#endif
    int needed = majority(SIZE(entered));
#ifdef ONE_SOURCE_LESS
    needed--;
#endif
    return votes && SIZE(votes) >= needed;
}

/* Neighbourhood.is_authoritative */
static int speaks(const World *w, int i) {
    const Node *n = &w->node[i];
    if (!HAS(responsible(w, i), i)) return 0;
    return settled(w, i) || (n->phase == TAKING && has_majority(n, i));
}

/* Whom a server counts once it has restarted. */
static Set saved(const World *w, int i) {
#ifdef SAVING
    return w->node[i].saved;
#else
    return w->node[i].members & ~GONE(&w->node[i]); /* a server that is down keeps these alone */
#endif
}

static void store(Node *n, u8 version) {
    if (version > n->value) n->value = version, n->confirmed = 0;
}

/* ---- taking over ---- */

static int anybody_settled(const World *w) {
    for (int i = 0; i < NODES; i++)
        if (settled(w, i)) return 1;
    return 0;
}

/* Who remembers nobody finds one that has settled; whom it asks, it counts from then on. */
static int can_join(const World *w, int i) { return !up(w, i) && !saved(w, i) && anybody_settled(w); }

static void do_join(World *w, int i) {
    w->node[i].phase = TAKING;
#ifdef EMPTY_SPEAKS
    for (int j = 0; j < NODES; j++)
        if (settled(w, j)) w->node[i].members |= ONE(j) | (w->node[j].members & ~ONE(i));
    w->node[i].phase = SETTLED;
#endif
}

static int can_restart(const World *w, int i) {
#ifdef DOWN_FOR_GOOD
    return 0;
#endif
    return !up(w, i) && saved(w, i);
}

static void do_restart(World *w, int i) {
    Node *n = &w->node[i];
    n->members = saved(w, i);
    n->phase = TAKING;
    n->counted = 1;
}

/* TakeOver, Neighbourhood.awaited */
static Set awaited(const Node *n) {
    Set left = n->members & ~n->answered & ~GONE(n);
#ifdef FORGETTING
    if (n->phase == EXCHANGING) left &= n->asked;
#endif
    return left;
}

static int pulls_under_way(const World *w) {
    int count = 0;
    for (int i = 0; i < NODES; i++)
        for (int j = 0; j < NODES; j++) count += w->pull[i][j].stage != IDLE;
    return count;
}

static int may_ask(const World *w, int i, int j) {
    const Node *n = &w->node[i];
    if (i == j || !up(w, j) || w->pull[i][j].stage != IDLE) return 0;
    if (!w->node[j].members) return 0; /* it has yet to begin */
    if (n->phase == SETTLED) return settled(w, j) && !HAS(n->members, j); /* Membership._pull_once */
    if (n->phase != TAKING) return n->phase == EXCHANGING && HAS(awaited(n), j);
    return n->members ? HAS(awaited(n), j) || !HAS(n->members, j) : settled(w, j);
}

static int can_ask(const World *w, int i, int j) { return may_ask(w, i, j) && pulls_under_way(w) < PULLS; }

static void count_in(World *w, int j, int i) {
    Node *source = &w->node[j];
    source->members |= ONE(i);
#ifdef FORGETTING
    source->gone &= ~ONE(i);
#endif
#if defined(SAVING) && !defined(UNSAVED)
    source->saved |= ONE(i);
#endif
}

/* The first page is asked for, and answered: Holder._hand_over. */
static void do_ask(World *w, int i, int j) {
    Node *source = &w->node[j];
    Pull *pull = &w->pull[i][j];
    pull->stage = BEGUN;
    pull->known = HAS(source->members, i);
#ifdef SIDE_BY_SIDE
    int first = !HAS(source->members, i) || (!HAS(source->began, i) && (source->phase == TAKING || HAS(source->newcomers, i)));
    pull->known = !first;
    if (first && !settled(w, i)) source->newcomers |= ONE(i);
    else source->newcomers &= ~ONE(i), source->established |= source->phase == TAKING ? ONE(i) : 0;
    source->began |= ONE(i);
    pull->newcomers = source->newcomers & ~ONE(i);
#endif
#if !defined(NAMED_LAST) && !defined(NOT_NAMED)
    count_in(w, j, i);
#endif
    pull->authority = settled(w, j);
    pull->named = (source->members & ~ONE(i)) | ONE(j);
    if (w->node[i].phase == TAKING) w->node[i].members |= ONE(j);
}

/* The page with the key's stretch. A source that has restarted meanwhile may answer it. */
static int can_make(const World *w, int i, int j) { return w->pull[i][j].stage == BEGUN && up(w, j); }

static void do_make(World *w, int i, int j) {
    Pull *pull = &w->pull[i][j];
    pull->stage = MADE;
    pull->value = w->node[j].value;
    pull->authority &= settled(w, j);
}

static int can_lose_page(const World *w, int i, int j) { return w->pull[i][j].stage == BEGUN; }
static void do_lose_page(World *w, int i, int j) { memset(&w->pull[i][j], 0, sizeof(Pull)); }

/* The last page arrives and is believed: TakeOver._pulled. */
static int can_hear(const World *w, int i, int j) { return w->pull[i][j].stage == MADE; }

static void do_hear(World *w, int i, int j) {
    Node *n = &w->node[i];
    Pull pull = w->pull[i][j];
    memset(&w->pull[i][j], 0, sizeof pull);
#ifdef NAMED_LAST
    if (up(w, j)) count_in(w, j, i);
#endif
#ifndef UNVERIFIED
    store(n, pull.value);
#endif
#ifdef FORGETTING
    n->gone &= ~ONE(j);
#endif
    if (n->phase == SETTLED) {
        if (pull.authority) n->members |= ONE(j);
        return;
    }
    if (n->phase == TAKING) {
#ifndef KNOWN_IGNORED
#ifdef SIDE_BY_SIDE
        if (pull.known && pull.authority) n->counted = 1; /* another newcomer may know it by hearsay */
#else
        if (pull.known) n->counted = 1;
#endif
#endif
#ifdef SIDE_BY_SIDE
        if (pull.authority) n->established |= pull.named & ~pull.newcomers & ~ONE(i);
#endif
        n->members |= pull.named & ~ONE(i);
    }
    n->answered |= ONE(j);
    if (pull.authority) n->handed |= ONE(j);
#ifdef SIDE_BY_SIDE
    if (pull.authority) n->newcomers &= ~ONE(j), n->established |= ONE(j);
#endif
}

/* All of it between two steps of everybody else: a pull beside PULLS others. */
static int can_pull(const World *w, int i, int j) { return PULLS < NODES && may_ask(w, i, j); }

static void do_pull(World *w, int i, int j) {
    do_ask(w, i, j);
    do_make(w, i, j);
    do_hear(w, i, j);
}

/* Nobody is left to wait for: TakeOver.proceed, Neighbourhood.end_takeover. */
static int can_settle(const World *w, int i) {
    const Node *n = &w->node[i];
    return (n->phase == TAKING || n->phase == EXCHANGING) && n->members && !awaited(n);
}

static void do_settle(World *w, int i) {
    Node *n = &w->node[i];
    memset(w->pull[i], 0, sizeof w->pull[i]);
    n->phase = SETTLED;
#ifdef SIDE_BY_SIDE
    if (!n->counted) n->newcomers = n->members & ~n->established & ~n->handed;
#endif
    n->counted = 1;
    n->answered = n->handed = 0;
#ifdef FORGETTING
    n->members &= ~(n->going & n->gone);
    n->gone &= n->members;
    n->asked = n->going = 0;
#endif
#ifdef SIDE_BY_SIDE
    n->established = 0;
#endif
#ifdef NOT_NAMED
    for (int j = 0; j < NODES; j++)
        if (HAS(n->members, j) && up(w, j)) count_in(w, j, i);
#endif
}

/* ---- crashes ---- */

#ifdef SAVING
static int can_save(const World *w, int i) { return up(w, i) && w->node[i].saved != (w->node[i].members & ~GONE(&w->node[i])); }
static void do_save(World *w, int i) { w->node[i].saved = w->node[i].members & ~GONE(&w->node[i]); }
#endif

static int can_crash(const World *w, int i) { return up(w, i) && w->crashes && HAS(MORTALS, i); }

static void stop(World *w, int i, int lost) {
    Node *n = &w->node[i], then = {0};
    if (!lost) {
        then.value = n->value;
#ifdef SAVING
        then.saved = n->saved;
#else
        then.members = saved(w, i);
#endif
    }
    *n = then;
    memset(w->pull[i], 0, sizeof w->pull[i]);
}

static void do_crash(World *w, int i) {
    w->crashes--;
    stop(w, i, 0);
}

/* Who lost its disk may be missed twice: what it acknowledged in a put that is still under way, and whom it counted, because that one takes
   over from it. LOSS_IN_PUT and LOSS_IN_TAKEOVER show what comes of that. */
static int can_lose_disk(const World *w, int i) {
    if (!up(w, i) || !w->losses) return 0;
#ifndef LOSS_IN_PUT
    for (int k = 0; k < WRITERS; k++)
        if (w->writer[k].busy) return 0;
#endif
#ifndef LOSS_IN_TAKEOVER
    for (int j = 0; j < NODES; j++)
        if (w->node[j].phase == TAKING && (HAS(w->node[j].answered, i) || w->pull[j][i].stage)) return 0;
#endif
    return 1;
}

static void do_lose_disk(World *w, int i) {
    w->losses--;
    stop(w, i, 1);
#if defined(SIDE_BY_SIDE) && !defined(LIVES_ALIKE)
    for (int j = 0; j < NODES; j++) { /* what was said of its former store is not said of the next */
        Node *n = &w->node[j];
        if (HAS(n->newcomers, i) || (n->phase == TAKING && HAS(n->members, i))) n->newcomers &= ~ONE(i), n->established |= n->phase == TAKING ? ONE(i) : 0;
        for (int k = 0; k < NODES; k++) w->pull[j][k].newcomers &= ~ONE(i);
    }
#endif
}

#ifdef FORGETTING
/* It takes longer than any put, and than whoever takes over needs to hear from all who live. */
static int long_enough(const World *w) {
    for (int k = 0; k < WRITERS; k++)
        if (w->writer[k].busy) return 0;
    for (int i = 0; i < NODES; i++)
        for (int j = 0; j < NODES; j++)
            if (w->node[i].phase == TAKING && up(w, j) && may_ask(w, i, j)) return 0;
    return !pulls_under_way(w) && !w->reader.busy;
}

/* Membership.watch_silence: i has not heard of one that is down for as long as servers are remembered. */
static int can_forget(const World *w, int i, int dead) {
    const Node *n = &w->node[i];
    int total = 1, heard = 1;
    if (!up(w, i) || up(w, dead) || !HAS(n->members, dead) || HAS(n->gone, dead)) return 0;
    for (int j = 0; j < NODES; j++)
        if (HAS(n->members & ~n->gone, j)) total++, heard += up(w, j);
    return 2 * heard > total && long_enough(w);
}

static void do_forget(World *w, int i, int dead) {
    Node *n = &w->node[i];
    n->gone |= ONE(dead);
#ifdef FORGET_AT_ONCE
    if (settled(w, i)) n->members &= ~ONE(dead), n->gone &= ~ONE(dead);
#endif
}

/* Membership._exchange: with those who stand in the key's set together with one that is gone, before or after. */
static int can_exchange(const World *w, int i) { return w->node[i].phase == SETTLED && w->node[i].gone; }

static void do_exchange(World *w, int i) {
    Node *n = &w->node[i];
    Set shared = closest(n->members | ONE(i), REPLICAS + SIZE(n->gone));
    n->phase = EXCHANGING;
    n->going = n->gone;
    n->asked = HAS(shared, i) && shared & n->gone ? shared & ~ONE(i) : 0;
}
#endif

/* ---- displaced copies: Round ---- */

static int displaced(const World *w, int i) { return settled(w, i) && w->node[i].value && !HAS(responsible(w, i), i); }

static int can_confirm(const World *w, int i, int j) {
    const Node *n = &w->node[i], *other = &w->node[j];
    if (!displaced(w, i) || !HAS(responsible(w, i) & ~n->confirmed, j)) return 0;
    return up(w, j) && other->value == n->value && speaks(w, j);
}

static void do_confirm(World *w, int i, int j) { w->node[i].confirmed |= ONE(j); }

static int can_drop(const World *w, int i) {
#ifdef DROP_AT_ONCE
    return displaced(w, i);
#else
    return displaced(w, i) && w->node[i].confirmed == responsible(w, i);
#endif
}

static void do_drop(World *w, int i) { w->node[i].value = w->node[i].confirmed = 0; }
