/* The operations of ring mode. ORIGINAL gives those first published instead, ADOPT_UNASKED one defect of theirs. */
#include "chord.h"
#include <string.h>

#define ID(i) ((u8)(2 * (i)))
#define IS_NODE(entry) ((entry) != NOWHERE && !((entry) & 1))
#define NODE(entry) ((entry) >> 1)

static int between(int low, int x, int high) {
    if (low == high) return x != low;
    return low < high ? low < x && x < high : low < x || x < high;
}

static u8 past(u8 entry) { return entry == NOWHERE ? NOWHERE : (u8)(entry | 1); }

static int member(const World *w, int entry) { return IS_NODE(entry) && w->node[NODE(entry)].phase >= FORMED; }

static int joining(const Node *n) { return n->phase == OUT && n->call == JOIN_ANSWERED; }

static void forget_call(Node *n) {
    n->call = IDLE;
    n->peer = n->answer_predecessor = 0;
    memset(n->answer, 0, LIST);
#ifdef FORMING
    memset(n->answer_map, 0, NODES);
    n->answer_phase = n->answer_era = 0;
#endif
}

static void call(Node *n, int call, u8 peer) {
    forget_call(n);
    n->call = call;
    n->peer = peer;
}

#ifdef FORMING
static int is_present(u8 known) { return known >= JOINING; }

/* How far its life has come, whichever life that is. */
static int standing(u8 known) { return is_present(known) || known == UNKNOWN ? known : known + GONE - OLD_GONE; }

static int is_live(const u8 *map, int i) { return map[i] != UNKNOWN && standing(map[i]) != GONE; }

/* Who answers as a member. */
static int is_member(const u8 *map, int i) { return standing(map[i]) == UP || standing(map[i]) == LEAVING; }

/* Who is counted when the ring forms. */
static int is_up(const u8 *map, int i) {
#ifdef COUNT_JOINERS
    return is_live(map, i);
#elif defined(COUNT_LEAVERS)
    return is_member(map, i);
#else
    return standing(map[i]) == UP;
#endif
}
#endif

/* The list and the predecessor that a member answers with. */
static void list_of(const Node *n, int i, u8 *list) {
#ifdef FORMING
    if (n->phase == FORMED) {
        int k = 0;
        for (int at = (i + 1) % NODES; at != i && k < LIST; at = (at + 1) % NODES)
            if (is_member(n->map, at)) list[k++] = ID(at);
        for (; k < LIST; k++) list[k] = k ? past(list[k - 1]) : past(ID(i));
        return;
    }
#endif
    (void)i;
    memcpy(list, n->list, LIST);
}

static u8 predecessor_of(const Node *n, int i) {
#ifdef FORMING
    if (n->phase == FORMED) {
        for (int at = (i + NODES - 1) % NODES; at != i; at = (at + NODES - 1) % NODES)
            if (is_member(n->map, at)) return ID(at);
        return ID(i);
    }
#endif
    (void)i;
    return n->predecessor;
}

static int first_live(const World *w, const u8 *list) {
    for (int k = 0; k < LIST; k++)
        if (member(w, list[k])) return list[k];
    return NOWHERE;
}

/* Drop an entry that is proved dead, and pad the list. */
static void drop(Node *n, u8 dead) {
    for (int k = 0; k < LIST; k++)
        if (n->list[k] == dead) {
            u8 last = n->list[LIST - 1];
            for (; k + 1 < LIST; k++) n->list[k] = n->list[k + 1];
#if defined(ORIGINAL) 
            n->list[LIST - 1] = NOWHERE;
            (void)last;
#else
            n->list[LIST - 1] = past(last);
#endif
            return;
        }
}

static void take(Node *n, int i, u8 first, const u8 *rest) {
    for (int k = LIST - 1; k > 0; k--) n->list[k] = rest[k - 1];
    n->list[0] = first;
#if defined(DAMAGE) && !defined(ORIGINAL)
    /* No answer can bring disorder, or ourselves; where damage is not looked past, that it tried is a breach. */
    for (int k = 1; k < LIST; k++)
        if (!between(n->list[k - 1], n->list[k], ID(i))) n->list[k] = past(n->list[k - 1]);
#else
    (void)i;
#endif
}

#ifdef QUIET
/* Whether the answer to step 1 would change nothing here: then it is as good as heard, and only the notification is left. */
static int idle_query(const World *w, int i) {
    const Node *n = &w->node[i];
    u8 successor = n->list[0], its[LIST], beyond;
    if (n->call != IDLE || !member(w, successor)) return 0;
    list_of(&w->node[NODE(successor)], NODE(successor), its);
    beyond = predecessor_of(&w->node[NODE(successor)], NODE(successor));
    return !memcmp(n->list + 1, its, LIST - 1) && !(IS_NODE(beyond) && between(ID(i), beyond, successor));
}
#endif

/* One query of stabilise, answered or found dead now; what follows happens when the answer arrives. */
static int can_ask(const World *w, int i) {
    const Node *n = &w->node[i];
#ifdef QUIET
    if (n->phase == RING && idle_query(w, i) && predecessor_of(&w->node[NODE(n->list[0])], NODE(n->list[0])) == ID(i)) return 0;
#endif
    return n->phase == RING && (n->call == IDLE || n->call == BETWEEN_DUE);
}

static void do_ask(World *w, int i) {
    Node *n = &w->node[i];
#ifdef QUIET
    if (idle_query(w, i)) {
        call(n, NOTIFYING, n->list[0]);
        return;
    }
#endif
    int first_step = n->call == IDLE;
    u8 peer = first_step ? n->list[0] : n->peer;
    if (!member(w, peer)) {
        call(n, first_step ? SUCCESSOR_DEAD : BETWEEN_DEAD, peer);
        return;
    }
    call(n, first_step ? SUCCESSOR_ANSWERED : BETWEEN_ANSWERED, peer);
    list_of(&w->node[NODE(peer)], NODE(peer), n->answer);
    if (first_step) n->answer_predecessor = predecessor_of(&w->node[NODE(peer)], NODE(peer));
}

static void notify(Node *n, u8 successor) {
    if (IS_NODE(successor)) call(n, NOTIFYING, successor);
    else forget_call(n);
}

#ifdef FORMING
static void merge_into(World *w, int i, const u8 *map);
static void do_exchange(World *w, int m, int x);
static void meet(World *w, int i, int stranger);
#endif

/* A notification arrives at i: adopt who is nearer; otherwise ask whether the old predecessor lives. */
static void rectify(World *w, int i, u8 new) {
    Node *n = &w->node[i];
#ifdef FORMING
    if (n->phase == FORMED) { /* it joined the ring that was here before */
        if (n->map[NODE(new)] == GONE) {
            if (n->call == IDLE) do_exchange(w, i, NODE(new)); /* we took it for dead, and have yet to hear that it stands on a ring */
        } else if (!is_present(n->map[NODE(new)]))
#ifdef ADOPT_NOTIFIER
            {
                u8 map[NODES] = {0};
                map[NODE(new)] = member(w, new) ? UP : OLD_UP;
                merge_into(w, i, map);
            }
#else
            meet(w, i, NODE(new));
#endif
    }
#endif
    if (n->phase != RING || n->predecessor == new || ID(i) == new) return;
    if (n->predecessor == NOWHERE || between(n->predecessor, new, ID(i)))
        n->predecessor = new;
#ifndef ORIGINAL
    else if (!member(w, n->predecessor)) {
        n->candidate = new;
        n->asked = n->predecessor;
    }
#endif
}

#ifdef ORIGINAL
/* check_predecessor. */
static int can_rectify(const World *w, int i) {
    const Node *n = &w->node[i];
    return n->phase == RING && n->predecessor != NOWHERE && !member(w, n->predecessor);
}

static void do_rectify(World *w, int i) { w->node[i].predecessor = NOWHERE; }
#else
/* The news that the old predecessor is dead arrives. */
static int can_rectify(const World *w, int i) { return w->node[i].asked != NOWHERE; }

static void do_rectify(World *w, int i) {
    Node *n = &w->node[i];
    if (n->predecessor == n->asked) n->predecessor = n->candidate;
    n->candidate = n->asked = NOWHERE;
}
#endif

/* The answer to step 1 arrives. */
static void hear_successor(Node *n, int i) {
    u8 successor = n->peer, beyond = n->answer_predecessor;
    int nearer = IS_NODE(beyond) && between(ID(i), beyond, successor);
#if defined(ORIGINAL) || defined(ADOPT_UNASKED)
    /* Its predecessor is believed unasked, and the list is copied another time. */
    if (nearer) n->list[0] = successor = beyond;
    else take(n, i, successor, n->answer);
    notify(n, successor);
#else
    take(n, i, successor, n->answer);
    if (nearer) call(n, BETWEEN_DUE, beyond);
    else if (beyond == ID(i)) forget_call(n); /* it takes us for its predecessor already */
    else notify(n, successor);
#endif
}

/* Ring mode's join. */
static void answer_join(Node *n, const Node *other, int m) {
    call(n, JOIN_ANSWERED, ID(m));
#ifdef FORMING
    n->answer_era = other->era;
#endif
#ifdef ORIGINAL
    memset(n->answer, NOWHERE, LIST);
    n->answer[0] = other->list[0];
#else
    memcpy(n->answer, other->list, LIST);
#endif
}

static void hear_join(Node *n) {
    memcpy(n->list, n->answer, LIST);
#ifdef ORIGINAL
    n->predecessor = NOWHERE;
#else
    n->predecessor = n->peer;
#endif
    n->phase = RING;
#ifdef FORMING
    n->era = n->answer_era;
#endif
    forget_call(n);
}
