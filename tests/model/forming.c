/* The map of up to r + 1 members, and the ways to ring mode and back. */
#ifdef FORMING

static int count(const u8 *map, int (*which)(const u8 *, int)) {
    int found = 0;
    for (int i = 0; i < NODES; i++) found += which(map, i);
    return found;
}

static int ups(const u8 *map) { return count(map, is_up); }

/* Whether all others that are live, or up, on the map are in the mask. */
static int all_in(const Node *n, int i, int (*which)(const u8 *, int), u8 mask) {
    for (int x = 0; x < NODES; x++)
        if (x != i && which(n->map, x) && !(mask >> x & 1)) return 0;
    return 1;
}

/* Node j's life is over: whatever is known of it is known of an old one now. */
static void outdate(World *w, int j) {
    static const u8 older[] = {UNKNOWN, OLD_JOINING, OLD_UP, OLD_GONE, OLD_JOINING, OLD_UP, OLD_GONE};
    for (int i = 0; i < NODES; i++) {
        Node *n = &w->node[i];
        n->map[j] = older[n->map[j]];
        n->answer_map[j] = older[n->answer_map[j]];
        if (n->call == EXCHANGE_DEAD && n->peer == ID(j)) n->answer_phase = older[n->answer_phase];
    }
}

/* Of one life the later standing counts; a live node that finds itself gone begins another, which nobody has confirmed. */
static void merge_into(World *w, int i, const u8 *map) {
    Node *n = &w->node[i];
    int changed = 0;
    for (int x = 0; x < NODES; x++)
        if (map[x] > n->map[x]) {
            if (!(n->map[x] == JOINING && map[x] == UP)) n->holds &= ~(1u << x);
            n->map[x] = map[x];
            changed = 1;
        }
    u8 own = n->phase == JOINER ? JOINING : UP;
    if (n->map[i] > own) {
        outdate(w, i);
        n->holds = 0;
    }
    if (n->map[i] != own) {
        n->map[i] = own;
        changed = 1;
    }
    if (changed) n->same = 0;
}

static void stand_on_map(Node *n, u8 phase, const u8 *map, u8 era) {
    forget_call(n);
    n->phase = phase;
    memset(n->list, NOWHERE, LIST);
    n->predecessor = n->candidate = n->asked = NOWHERE;
    memcpy(n->map, map, NODES);
    n->holds = n->same = n->regroup = 0;
    if (era > n->era) n->era = era;
}

static void go_ring(Node *n, int i) {
    u8 list[LIST], predecessor = predecessor_of(n, i);
    static const u8 nothing[NODES];
    list_of(n, i, list);
    stand_on_map(n, RING, nothing, 0);
    memcpy(n->list, list, LIST);
    n->predecessor = predecessor;
}

static void step_out(World *w, int i) {
    Node *n = &w->node[i];
    outdate(w, i);
    memset(n, 0, sizeof *n);
    memset(n->list, NOWHERE, LIST);
    n->predecessor = n->candidate = n->asked = NOWHERE;
}

static void hear_exchange(World *w, int i);

/* m sends x its map; x merges it and answers with its own. */
static int can_exchange(const World *w, int m, int x) {
    const Node *n = &w->node[m];
    return m != x && (n->phase == FORMED || n->phase == JOINER) && n->call == IDLE && is_live(n->map, x)
        && !(is_present(n->map[x]) && n->same >> x & 1 && (n->phase == FORMED || n->holds >> x & 1) && w->node[x].phase != RING);
}

static void do_exchange(World *w, int m, int x) {
    Node *n = &w->node[m], *other = &w->node[x];
    if (other->phase < FORMED && !(is_present(n->map[x]) && (other->phase == JOINER || joining(other)))) {
        call(n, EXCHANGE_DEAD, ID(x));
        n->answer_phase = n->map[x];
        return;
    }
    if (other->phase == RING) {
        call(n, EXCHANGED, ID(x));
        n->answer_phase = RING;
        n->answer_era = other->era;
        if (n->era > other->era && n->era > other->regroup) other->regroup = n->era;
        return;
    }
    if (other->phase == OUT) /* named before the answer to its request to join came */
        stand_on_map(other, JOINER, n->map, n->era);
    merge_into(w, x, n->map);
    if (n->era > other->era) other->era = n->era;
    call(n, EXCHANGED, ID(x));
    n->answer_phase = other->phase;
    n->answer_era = other->era;
    memcpy(n->answer_map, other->map, NODES);
#ifdef PROMPT_MAPS
    hear_exchange(w, m);
#endif
}

static int has_others(const Node *n, int i) {
    for (int x = 0; x < NODES; x++)
        if (x != i && is_up(n->map, x)) return 1;
    return 0;
}

/* See whether we are confirmed, and whether the ring has formed. */
static void judge_map(World *w, int i) {
    Node *n = &w->node[i];
    if (n->phase == JOINER) {
        if (!has_others(n, i)) step_out(w, i);
        else if (all_in(n, i, is_live, n->holds)) {
            n->phase = FORMED;
            n->map[i] = UP;
            n->same = 0;
        }
    }
    if (n->phase == FORMED && ups(n->map) >= LIST + 2 && all_in(n, i, is_up, n->same)) go_ring(n, i);
}

static void hear_exchange(World *w, int i) {
    Node *n = &w->node[i];
    Node answered = *n;
    int peer = NODE(n->peer);
    u8 bit = (u8)(1u << peer);
    forget_call(n);
    if (answered.answer_phase == RING) {
        if (answered.answer_era < n->era) return;
        if (n->phase == FORMED && has_others(n, i)) go_ring(n, i);
        else step_out(w, i);
        return;
    }
    /* It counts for the life to which it was given, and for the one that gave it. */
    if (is_present(answered.answer_map[i]) && is_present(answered.answer_map[peer]) == is_present(n->map[peer])) n->holds |= bit;
    merge_into(w, i, answered.answer_map);
    if (answered.answer_era > n->era) n->era = answered.answer_era;
    if (!memcmp(n->map, answered.answer_map, NODES)) n->same |= bit;
    judge_map(w, i);
}

static void hear_exchange_dead(World *w, int i) {
    Node *n = &w->node[i];
    u8 map[NODES] = {0}, known = n->answer_phase;
    map[NODE(n->peer)] = is_present(known) ? GONE : OLD_GONE;
    forget_call(n);
    merge_into(w, i, map);
    judge_map(w, i);
}

/* Joining: m puts j on its map and answers with it. */
static void answer_forming_join(World *w, int j, int m) {
    Node *n = &w->node[j];
    u8 map[NODES] = {0};
    map[j] = JOINING;
    merge_into(w, m, map);
    call(n, JOIN_FORMED, ID(m));
    memcpy(n->answer_map, w->node[m].map, NODES);
    n->answer_era = w->node[m].era;
}

static void hear_forming_join(World *w, int j) {
    Node *n = &w->node[j];
    Node answered = *n;
    stand_on_map(n, JOINER, answered.answer_map, answered.answer_era);
    merge_into(w, j, answered.answer_map);
    judge_map(w, j);
}

/* Ring mode's way back: where the list comes round, or somebody forms in a later era, all are asked, and whom they name. */
static int names(const World *w, int i, u8 *entries) {
    list_of(&w->node[i], i, entries);
    entries[LIST] = predecessor_of(&w->node[i], i);
    return LIST + 1;
}

static int can_regroup(const World *w, int i) {
    const Node *n = &w->node[i];
    if (n->phase != RING || n->call != IDLE) return 0;
    if (n->regroup) return 1;
    if (!member(w, n->list[0])) return 0;
    u8 list[LIST];
    list_of(&w->node[NODE(n->list[0])], NODE(n->list[0]), list);
    for (int k = 0; k < LIST; k++)
        if (list[k] == ID(i)) return 1;
    return 0;
}

static void do_regroup(World *w, int i) {
    Node *n = &w->node[i];
    unsigned asked = 1u << i, found = 0;
    u8 map[NODES] = {0}, entries[LIST + 1];
    for (int go = 1; go;) { /* to whoever is named, until nobody new is */
        go = 0;
        for (int x = 0; x < NODES; x++) {
            if (!(asked >> x & 1) || !member(w, ID(x)) || found >> x & 1) continue;
            found |= 1u << x;
            map[x] = UP;
            for (int k = names(w, x, entries); k-- > 0;)
                if (IS_NODE(entries[k]) && !(asked >> NODE(entries[k]) & 1)) {
                    asked |= 1u << NODE(entries[k]);
                    go = 1;
                    if (!member(w, entries[k])) map[NODE(entries[k])] = OLD_GONE;
                }
        }
    }
    u8 era = (u8)(n->era + 1 > n->regroup ? n->era + 1 : n->regroup);
    if (ups(map) > LIST + 1) {
        if (n->regroup > n->era) n->era = n->regroup; /* tells whoever forms that there are too many */
        n->regroup = 0;
        return;
    }
    call(n, REGROUPED, ID(i));
    n->regroup = 0;
    memcpy(n->answer_map, map, NODES);
    n->answer_era = era;
}

static void hear_regrouped(World *w, int i) {
    Node *n = &w->node[i];
    Node answered = *n;
    stand_on_map(n, FORMED, answered.answer_map, answered.answer_era);
    merge_into(w, i, answered.answer_map);
    judge_map(w, i);
}

/* Only the order of eras matters: keep them small. */
static void renumber_eras(World *w) {
    u8 least = 255;
    for (int i = 0; i < NODES; i++) {
        const Node *n = &w->node[i];
        if (n->era && n->era < least) least = n->era;
        if (n->answer_era && n->answer_era < least) least = n->answer_era;
    }
    if (least == 255 || least == 1) return;
    for (int i = 0; i < NODES; i++) {
        Node *n = &w->node[i];
        if (n->era) n->era -= least - 1;
        if (n->answer_era) n->answer_era -= least - 1;
        if (n->regroup) n->regroup -= least - 1;
    }
}
#endif
