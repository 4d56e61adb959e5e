/* What is checked. */
enum property { HOLDS, NO_LIVE_SUCCESSOR, TOO_FEW_PRINCIPALS, DUPLICATE, UNORDERED_LIST, NO_RING, TWO_RINGS, UNORDERED_RING, UNKNOWN_MEMBER, NEVER_IDEAL };

static const char *properties[] = {
    "nothing",
    "a member has no live successor on its list",
    "fewer than r + 1 members are skipped by nobody",
    "a list names somebody twice",
    "a list is out of order",
    "there is no ring",
    "there are two rings",
    "the ring is out of order",
    "a forming member does not know another",
    "left alone, the members never come to the ideal ring",
};

static void apply(World *w, int i);
static int can_apply(const World *w, int i);

static int anybody(const World *w, int phase) {
    for (int i = 0; i < NODES; i++)
        if (w->node[i].phase == phase) return 1;
    return 0;
}

/* Which members a list, with its owner in front, skips. */
static unsigned skipped(const World *w, u8 owner, const u8 *list) {
    unsigned mask = 0;
    u8 low = owner;
    for (int k = 0; k < LIST && list[k] != NOWHERE; low = list[k++])
        for (int p = 0; p < NODES; p++)
            if (w->node[p].phase >= FORMED && between(low, ID(p), list[k])) mask |= 1u << p;
    return mask;
}

/* Whom member i skips. A former life that a map names stands for nobody: the map may drop it any time. */
static unsigned passed_over(const World *w, int i, const u8 *list) {
    unsigned mask = skipped(w, ID(i), list);
#ifdef FORMING
    const Node *n = &w->node[i];
    for (int x = 0; x < NODES; x++)
        if (n->phase == FORMED && n->map[x] != UNKNOWN && !is_present(n->map[x])) mask |= 1u << x;
#endif
    return mask;
}

/* Zave's two-part invariant (arXiv 1610.01140). With `in_flight`, every list that an answer on its way would make counts as well. */
static int invariant(const World *w, int in_flight) {
    unsigned principals = 0;
    u8 list[LIST];
    for (int i = 0; i < NODES; i++)
        if (w->node[i].phase >= FORMED) principals |= 1u << i;
    for (int i = 0; i < NODES; i++) {
        const Node *n = &w->node[i];
        if (n->phase >= FORMED) {
            list_of(n, i, list);
            if (first_live(w, list) == NOWHERE) return NO_LIVE_SUCCESSOR;
            principals &= ~passed_over(w, i, list);
        }
#ifdef AT_ONCE
        for (int x = 0; in_flight && forms(n) && x < NODES; x++)
            if (x != i && !is_live(n->map, x)) principals &= ~(1u << x); /* it may skip x, once it is confirmed, or finds dead who is before x */
#endif
        if (in_flight && can_apply(w, i) && n->call != NOTIFYING && n->call != LEAVE_DUE) {
            World then = *w;
            apply(&then, i);
            if (then.node[i].phase < FORMED) continue;
            list_of(&then.node[i], i, list);
            if (first_live(&then, list) == NOWHERE) return NO_LIVE_SUCCESSOR;
            principals &= ~passed_over(&then, i, list);
        }
    }
    return __builtin_popcount(principals) > LIST ? HOLDS : TOO_FEW_PRINCIPALS;
}

/* What cannot repair itself once lost (Zave, CCR 2012): one ring, ordered, and every member leads into it. */
static int one_ring(const World *w) {
    int next[NODES], ring = -1;
    unsigned on_ring = 0;
    u8 list[LIST];
    for (int i = 0; i < NODES; i++) {
        if (w->node[i].phase < FORMED) continue;
        list_of(&w->node[i], i, list);
        int successor = first_live(w, list);
        if (successor == NOWHERE) return NO_LIVE_SUCCESSOR;
        next[i] = NODE(successor);
    }
    for (int i = 0; i < NODES; i++) {
        if (w->node[i].phase < FORMED) continue;
        int at = i;
        for (int k = 0; k < NODES; k++) at = next[at];
        if (ring < 0) {
            int turned = 0;
            ring = at;
            do {
                on_ring |= 1u << at;
                turned += (next[at] - at + NODES - 1) % NODES + 1;
                at = next[at];
            } while (at != ring);
            if (turned != NODES) return UNORDERED_RING;
        } else if (!(on_ring & 1u << at))
            return TWO_RINGS;
    }
    return ring < 0 ? NO_RING : HOLDS;
}

static int ordered_lists(const World *w) {
    for (int i = 0; i < NODES; i++) {
        const Node *n = &w->node[i];
        if (n->phase != RING) continue;
        for (int k = 0; k < LIST && n->list[k] != NOWHERE; k++) {
            if (n->list[k] == ID(i)) return DUPLICATE;
            for (int l = 0; l < k; l++) {
                if (IS_NODE(n->list[k]) && n->list[k] == n->list[l]) return DUPLICATE;
                if (n->list[k] != n->list[l] && !between(ID(i), n->list[l], n->list[k])) return UNORDERED_LIST;
            }
        }
    }
    return HOLDS;
}

#ifdef FORMING
/* When i is confirmed, it and all members of the ring that forms in this era know each other; and from then on, for no map forgets. */
static int complete_maps(const World *w, int i) {
    const Node *n = &w->node[i];
    for (int x = 0; x < NODES; x++) {
        const Node *other = &w->node[x];
        if (x == i || other->phase != FORMED || other->era != n->era || other->came) continue;
        if (!is_present(other->map[i]) || !is_live(other->map, i)) return UNKNOWN_MEMBER;
        if (!is_present(n->map[x]) || !is_live(n->map, x)) return UNKNOWN_MEMBER;
    }
    return HOLDS;
}
#endif

static int ideal(const World *w) {
    int members = 0;
    for (int i = 0; i < NODES; i++) {
        members += w->node[i].phase >= FORMED;
        if (joining(&w->node[i]) || w->node[i].phase == JOINER) return 0;
    }
    for (int i = 0; i < NODES; i++) {
        const Node *n = &w->node[i];
        if (n->phase < FORMED) continue;
#ifdef FORMING
        if (n->phase != (members > LIST + 1 ? RING : FORMED)) return 0;
        if (n->phase == FORMED) {
            for (int j = 0; j < NODES; j++)
                if (is_up(n->map, j) != (w->node[j].phase >= FORMED)) return 0;
            continue;
        }
#endif
        int at = i, before = i;
        for (int k = 0; k < LIST; k++) {
            do at = (at + 1) % NODES; while (w->node[at].phase < FORMED);
            if (n->list[k] != ID(at)) return 0;
        }
        do before = (before + NODES - 1) % NODES; while (w->node[before].phase < FORMED);
        if (n->predecessor != ID(before)) return 0;
    }
    return members > 0;
}
