/* The world: its steps, its failures, its judgement after each step. */
#include "chord.h"
#include "operations.c"
#include "forming.c"
#include "leaving.c"
#include "properties.c"

/* ---- the steps ---- */

static int may_lose(const World *w, int i, int in_flight);

static int can_apply(const World *w, int i) {
    int call = w->node[i].call;
    if (call == LEAVE_DUE) return !may_lose(w, i, 1);
    return call != IDLE && call != BETWEEN_DUE && call != DEPARTING;
}

/* The answer, or the notification, arrives. */
static void apply(World *w, int i) {
    Node *n = &w->node[i];
    u8 peer = n->peer;
    switch (n->call) {
    case SUCCESSOR_ANSWERED: hear_successor(n, i); break;
    case SUCCESSOR_DEAD: drop(n, peer); forget_call(n); break;
    case BETWEEN_ANSWERED: take(n, i, peer, n->answer); notify(n, peer); break;
    case BETWEEN_DEAD: notify(n, n->list[0]); break;
    case NOTIFYING: forget_call(n); rectify(w, NODE(peer), ID(i)); break;
    case JOIN_ANSWERED: hear_join(n); break;
#ifdef FORMING
    case EXCHANGED: hear_exchange(w, i); break;
    case EXCHANGE_DEAD: hear_exchange_dead(w, i); break;
    case REGROUPED: hear_regrouped(n); break;
#endif
#ifdef LEAVES
    case LEAVE_DUE: depart(w, i); break;
#endif
    }
    if (n->phase >= FORMED) w->former |= 1u << i;
}

/* j asks m to let it in; j's asking proves that what m has of an earlier j is dead. */
static int can_join(const World *w, int j, int m) {
    const Node *n = &w->node[j];
    if (j == m || n->phase != OUT || joining(n) || w->node[m].phase < FORMED) return 0;
    return w->budget > 0 || !(w->former >> j & 1);
}

/* An answer counts only if the list is still the one for which it was asked for. */
static void drop_from_list(Node *n, u8 dead) {
    u8 before[LIST];
    memcpy(before, n->list, LIST);
    drop(n, dead);
    if (memcmp(before, n->list, LIST) && n->call >= SUCCESSOR_ANSWERED && n->call <= BETWEEN_DEAD) forget_call(n);
}

static void drop_former(Node *n, u8 dead) {
    drop_from_list(n, dead);
    /* Nor does what is under way of a former life that stood on no list. */
    if (n->call >= BETWEEN_DUE && n->call <= BETWEEN_DEAD && n->peer == dead) forget_call(n);
}

static void do_join(World *w, int j, int m) {
    Node *n = &w->node[j], *other = &w->node[m];
#ifndef ORIGINAL
    if (other->phase == RING) drop_former(other, ID(j));
#endif
    if (other->phase == RING && !between(ID(m), ID(j), other->list[0])) return;
#ifdef FORMING
    if (other->phase == FORMED && count(other->map, is_live) >= LIST + 2 && !is_live(other->map, j)) return; /* wait until the ring has formed */
#ifndef LET_IN_EARLY
    if (other->phase == FORMED && other->came) return; /* wait until all have heard of the other itself */
#endif
#endif
    if (w->former >> j & 1 && w->budget != UNBOUNDED) w->budget--;
#ifdef FORMING
    outdate(w, j); /* each attempt is another life */
    if (other->phase == FORMED) {
        join_forming(w, j, m);
        return;
    }
#endif
    answer_join(n, other, m);
}

/* A node dies, with its call; only a notification that it had sent may still arrive. */
static void clear(World *w, int i) {
    Node *n = &w->node[i];
    u8 last_call = n->call, peer = n->peer;
    memset(n, 0, sizeof *n);
    memset(n->list, NOWHERE, LIST);
    n->predecessor = n->candidate = n->asked = NOWHERE;
    if (last_call == NOTIFYING) call(n, NOTIFYING, peer);
#ifdef FORMING
    outdate(w, i);
#endif
}

#ifdef FORMING
/* Whether somebody has a former life of x for a member. */
static int haunts(const World *w, int x) {
    for (int i = 0; i < NODES; i++)
        if (forms(&w->node[i]) && !is_present(w->node[i].map[x]) && is_member(w->node[i].map, x)) return 1;
    return 0;
}

/* Whether a ring that may form any time could leave k without a live successor: LIST dead in a row, as all know together. */
static int to_be_cut_off(const World *w, int k) {
    int dead = 0;
    for (int x = (k + 1) % NODES; x != k && dead < LIST; x = (x + 1) % NODES) {
        if (w->node[x].phase == FORMED) return 0;
        dead += haunts(w, x);
    }
    return w->node[k].phase == FORMED && dead == LIST;
}

/* Whether a ring that may form any time would skip k: somebody's map is full, and k is no member on it. */
static int to_be_skipped(const World *w, int k) {
    for (int i = 0; i < NODES; i++) {
        const Node *n = &w->node[i];
        if (n->phase == FORMED && ups(n->map) >= LIST + 2 && !(is_present(n->map[k]) && is_up(n->map, k))) return 1;
    }
    return 0;
}
#endif

/* Whether the promise does not cover that i is gone. */
static int may_lose(const World *w, int i, int in_flight) {
    World then = *w;
    clear(&then, i);
#ifdef FORMING
    int ring = anybody(&then, RING);
    for (int k = 0; k < NODES; k++) ring |= joining(&then.node[k]) || (then.node[k].call == EXCHANGED && then.node[k].answer_phase == RING);
    if (!ring) {
        int left = 0, most = 0, cut_off = 0;
        for (int k = 0; k < NODES; k++) {
            left += then.node[k].phase == FORMED && then.node[k].map[k] == UP && !to_be_skipped(&then, k);
            cut_off |= to_be_cut_off(&then, k);
            if ((then.node[k].phase == JOINER || (then.node[k].came && k != i)) && !knows_a_member(&then, k) && knows_a_member(w, k)) return 1;
            if (ups(then.node[k].map) > most) most = ups(then.node[k].map);
            if (ups(then.node[k].answer_map) > most) most = ups(then.node[k].answer_map);
        }
        return !((left > LIST && !cut_off) || (left > 0 && most < LIST + 2));
    }
#endif
    return invariant(&then, in_flight) != HOLDS;
}

static int can_fail(const World *w, int i) {
    if (w->budget == 0) return 0;
    if (w->node[i].phase < FORMED) return joining(&w->node[i]) || w->node[i].phase == JOINER;
#ifdef MEAN_FAILURES
    return !may_lose(w, i, 0);
#else
    return !may_lose(w, i, 1);
#endif
}

static void do_fail(World *w, int i) {
    clear(w, i);
    if (w->budget != UNBOUNDED) w->budget--;
}

/* ---- the judgement ---- */

/* No more failures: nodes act in turn, clockwise or back. One node's turn. */
static void turn(World *w, int i) {
    int regrouped = 0;
    for (int k = 0; k < 8; k++) {
        if (can_apply(w, i)) apply(w, i);
#ifdef FORMING
        else if (!regrouped && can_regroup(w, i)) do_regroup(w, i, UP), regrouped = 1;
#endif
        else if (can_ask(w, i)) do_ask(w, i);
        for (int j = 0; j < NODES; j++)
            if (can_rectify(w, j)) do_rectify(w, j);
    }
    (void)regrouped;
#ifdef FORMING
    for (int x = 0; x < NODES; x++) {
        if (can_apply(w, i)) apply(w, i);
        if (can_exchange(w, i, x)) do_exchange(w, i, x);
        if (can_apply(w, i)) apply(w, i);
        acknowledge(w);
    }
    if (can_conclude(w, i)) do_conclude(w, i);
    if (can_apply(w, i)) apply(w, i);
#endif
}

/* Called where no answer is under way; every other world leads to such a one, by the answers arriving. */
static int settles(const World *w) {
    for (int step = 1; step < NODES; step += NODES - 2) {
        World s = *w;
        for (int round = 0; round < 6 * NODES && !ideal(&s); round++)
            for (int k = 0, i = 0; k < NODES; k++, i = (i + step) % NODES) turn(&s, i);
        if (!ideal(&s)) return 0;
    }
    return 1;
}

static int quiet(const World *w) {
    for (int i = 0; i < NODES; i++)
        if (w->node[i].call != IDLE || w->node[i].asked != NOWHERE) return 0;
#ifdef FORMING
    for (int i = 0; i < NODES; i++) /* maps only grow, so these end as well */
        for (int x = 0; x < NODES; x++)
            if (w->node[x].phase != RING && can_exchange(w, i, x)) return 0;
#endif
    return 1;
}

static void judge(World *w) {
    if (w->broken) return;
    if (!anybody(w, RING) && !anybody(w, FORMED)) w->broken = NO_RING;
    if (!w->broken && anybody(w, RING)) {
#ifndef DAMAGE
        w->broken = invariant(w, 0);
        if (!w->broken) w->broken = ordered_lists(w);
#endif
        if (!w->broken) w->broken = one_ring(w);
    }
    if (!w->broken && quiet(w) && !settles(w)) w->broken = NEVER_IDEAL;
}

#ifdef SYMMETRY
static u8 turned(u8 entry, int by) { return entry == NOWHERE ? NOWHERE : (u8)((entry + POSITIONS - 2 * by) % POSITIONS); }

static u8 turned_mask(u8 mask, int by) { return (u8)((mask >> by | mask << (NODES - by)) & ((1u << NODES) - 1)); }

/* The circle has no beginning: of all turns of a world keep the least. */
static void canonical(World *w) {
    World best = *w;
    for (int by = 1; by < NODES; by++) {
        World t = *w;
        for (int i = 0; i < NODES; i++) {
            Node *n = &t.node[(i + NODES - by) % NODES];
            *n = w->node[i];
            int lists = n->call == SUCCESSOR_ANSWERED || n->call == BETWEEN_ANSWERED || n->call == JOIN_ANSWERED;
            for (int k = 0; k < LIST; k++) {
                n->list[k] = turned(n->list[k], by);
                if (lists) n->answer[k] = turned(n->answer[k], by);
            }
            n->predecessor = turned(n->predecessor, by);
            if (n->call != IDLE) n->peer = turned(n->peer, by);
            if (n->call == DEPARTING) n->answer[0] = turned_mask(n->answer[0], by);
            if (n->call == SUCCESSOR_ANSWERED || n->call == DEPARTING) n->answer_predecessor = turned(n->answer_predecessor, by);
            n->candidate = turned(n->candidate, by);
            n->asked = turned(n->asked, by);
#ifdef FORMING
            for (int k = 0; k < NODES; k++) {
                n->map[(k + NODES - by) % NODES] = w->node[i].map[k];
                n->answer_map[(k + NODES - by) % NODES] = w->node[i].answer_map[k];
            }
            n->holds = turned_mask(n->holds, by);
            n->same = turned_mask(n->same, by);
            n->leavers = turned_mask(n->leavers, by);
#endif
        }
        t.former = turned_mask(w->former, by);
        if (memcmp(&t, &best, sizeof t) < 0) best = t;
    }
    *w = best;
}
#endif

extern int Printf(const char *, ...);

#ifdef COARSE
/* Ring mode's queries and notifications arrive at once. */
static void drain(World *w) {
    for (int again = 1; again;) {
        again = 0;
        for (int i = 0; i < NODES; i++) {
            Node *n = &w->node[i];
            if (n->call >= SUCCESSOR_ANSWERED && n->call <= NOTIFYING) {
                if (n->call == BETWEEN_DUE) do_ask(w, i);
                else apply(w, i);
                again = 1;
            }
            if (can_rectify(w, i)) do_rectify(w, i), again = 1;
#ifdef FORMING
            if (n->regroup && can_regroup(w, i)) do_regroup(w, i, UP), again = 1;
#ifdef AT_ONCE
            if (n->call == JOIN_ANSWERED) apply(w, i), again = 1;
#endif
#ifdef TOGETHER
            for (int x = 0; x < NODES; x++)
                if (forms(&w->node[x]) && can_exchange(w, i, x) && answers_exchange(n, &w->node[x], x)) do_exchange(w, i, x), again = 1;
#endif
#endif
        }
    }
}
#endif

static void tell_list(const u8 *list, u8 predecessor) {
    for (int k = 0; k < LIST; k++) {
        if (list[k] == NOWHERE) Printf(" none");
        else Printf(" %d%s", NODE(list[k]), IS_NODE(list[k]) ? "" : "+");
    }
    if (predecessor != NOWHERE) Printf(" after %d", NODE(predecessor));
}

#ifdef FORMING
static void tell_map(const u8 *map) {
    static const char *known[] = {"", "-old-joining", "-old", "-old-leaving", "-old-gone", "-joining", "", "-leaving", "-gone"};
    if (!map) return;
    Printf(" {");
    for (int k = 0; k < NODES; k++)
        if (map[k]) Printf(" %d%s", k, known[map[k]]);
    Printf(" }");
}
#endif

/* Printed only when spin replays a trail: the step, then every node that is not plainly out. */
extern int readtrail;
static void tell(const World *w, const char *step) {
    if (!readtrail) return;
    static const char *calls[] = {"", "successor answered", "successor dead", "will ask", "between answered", "between dead", "notifies", "join answered",
        "will leave", "departed", "regrouped", "exchanged", "exchange dead"};
    static const char *phases[] = {"out", "joiner", "forming", "ring"};
    Printf("%s\n", step);
    for (int i = 0; i < NODES; i++) {
        const Node *n = &w->node[i];
        if (n->phase == OUT && n->call == IDLE) continue;
        Printf("    %d %-7s", i, phases[n->phase]);
        if (n->phase == RING) tell_list(n->list, n->predecessor);
#ifdef FORMING
        tell_map(n->phase == OUT ? 0 : n->map);
#endif
        if (n->call) {
            Printf("  | %s %d", calls[n->call], NODE(n->peer));
            if (n->call == SUCCESSOR_ANSWERED || n->call == BETWEEN_ANSWERED || n->call == JOIN_ANSWERED) tell_list(n->answer, n->answer_predecessor);
#ifdef FORMING
            if (n->call == EXCHANGED) Printf(" %s", phases[n->answer_phase]);
            tell_map(n->call >= REGROUPED ? n->answer_map : 0);
#endif
        }
        if (n->asked != NOWHERE) Printf("  | found %d dead for %d", NODE(n->asked), NODE(n->candidate));
        Printf("\n");
    }
}

static void after(World *w) {
#ifdef COARSE
    drain(w);
#endif
    judge(w);
    if (w->budget == UNBOUNDED) w->former = 0;
#ifdef FORMING
    acknowledge(w);
#ifdef SLOW_MAPS
    forget_old_news(w);
#endif
    renumber_eras(w);
    forget_the_gone(w);
#endif
    if (w->broken) Printf("BROKEN: %s\n", properties[w->broken]);
#ifdef SYMMETRY
    canonical(w);
#endif
}

static void begin(World *w, unsigned members, int budget) {
    memset(w, 0, sizeof *w);
    for (int i = 0; i < NODES; i++) clear(w, i);
#ifdef FORMING
    for (int i = 0; i < NODES; i++) {
        Node *n = &w->node[i];
        if (!(members >> i & 1)) continue;
        n->phase = FORMED;
        for (int k = 0; k < NODES; k++) n->map[k] = members >> k & 1 ? UP : UNKNOWN;
        n->era = 1;
    }
#else
    for (int i = 0; i < NODES; i++) {
        if (!(members >> i & 1)) continue;
        Node *n = &w->node[i];
        n->phase = RING;
        int at = i;
        for (int k = 0; k < LIST; k++) {
            do at = (at + 1) % NODES; while (!(members >> at & 1));
            n->list[k] = ID(at);
        }
        at = i;
        do at = (at + NODES - 1) % NODES; while (!(members >> at & 1));
        n->predecessor = ID(at);
    }
#endif
    w->former = members;
    w->budget = budget;
    after(w);
}
