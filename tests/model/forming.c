/* The map of up to r + 1 members, and the ways to ring mode and back. */
#ifdef FORMING

static int complete_maps(const World *w, int i);

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

static unsigned ask_around(const World *w, int i, unsigned *named);

static int is_leaving(const Node *n, int i);

static void clear(World *w, int i);

static int has_others(const Node *n, int i) { return count(n->map, is_member) > is_member(n->map, i); }

static int forms(const Node *n) { return n->phase == FORMED || n->phase == JOINER; }

/* Who waits for all to have what it says of itself. */
static int needs_confirmation(const Node *n, int i) { return n->phase == JOINER || (n->phase == FORMED && n->map[i] == LEAVING); }

/* Node j's life is over: whatever is known of it is known of an old one now. */
static void outdate(World *w, int j) {
    static const u8 older[] = {UNKNOWN, OLD_JOINING, OLD_UP, OLD_LEAVING, OLD_GONE, OLD_JOINING, OLD_UP, OLD_LEAVING, OLD_GONE};
    for (int i = 0; i < NODES; i++) {
        Node *n = &w->node[i];
        n->map[j] = n->phase == RING ? UNKNOWN : older[n->map[j]];
        n->answer_map[j] = older[n->answer_map[j]];
        n->leavers &= ~(1u << j);
        if (n->call == EXCHANGE_DEAD && n->peer == ID(j)) n->answer_phase = older[n->answer_phase];
    }
}

/* Our map changed: nobody has confirmed this one, and that the ring has formed was said to another. */
static void changed(Node *n) {
    n->same = 0;
#ifndef FORMED_ANYHOW
    if (n->call == EXCHANGED && n->answer_phase == RING) forget_call(n);
#endif
}

/* Of one life the later standing counts; a live node that finds itself gone begins another, which nobody has confirmed. */
static void merge_into(World *w, int i, const u8 *map) {
    Node *n = &w->node[i];
    u8 own = n->map[i];
    int is_changed = 0;
    for (int x = 0; x < NODES; x++)
        if (map[x] > n->map[x]) {
            if (standing(map[x]) == GONE || n->map[x] == UNKNOWN || is_present(map[x]) != is_present(n->map[x])) n->holds &= ~(1u << x);
            n->map[x] = map[x];
            is_changed = 1;
        }
    if (n->map[i] > own) {
        outdate(w, i);
        n->map[i] = own;
        n->holds = 0;
        is_changed = 1;
    }
    if (is_changed) changed(n);
}

/* What was confirmed in an earlier era counts no more: who has been on a ring since has forgotten its map. */
static void advance(Node *n, u8 era) {
    if (era <= n->era) return;
    n->era = era;
    changed(n);
#ifndef CONFIRMED_FOR_EVER
    n->holds = 0;
#endif
}

/* Say something else of ourselves. */
static void declare(Node *n, int i, u8 standing) {
    n->map[i] = standing;
    n->holds = 0;
    changed(n);
}

static void stand_on_map(Node *n, u8 phase, const u8 *map, u8 era) {
    forget_call(n);
    n->phase = phase;
    memset(n->list, NOWHERE, LIST);
    n->predecessor = n->candidate = n->asked = NOWHERE;
    memcpy(n->map, map, NODES);
    n->holds = n->same = n->regroup = n->leavers = n->insists = n->came = 0;
    if (era > n->era) n->era = era;
}

/* Stand among the members, those included who are about to leave. */
static void go_ring(Node *n, int i) {
    u8 list[LIST], predecessor, confirmed[NODES];
#ifdef COUNT_JOINERS
    for (int x = 0; x < NODES; x++)
        if (is_live(n->map, x)) n->map[x] = UP;
#endif
    list_of(n, i, list);
    predecessor = predecessor_of(n, i);
    for (int x = 0; x < NODES; x++) confirmed[x] = n->map[x] == JOINING ? JOINING : UNKNOWN; /* they may still count it */
#if defined(FORGETFUL) || defined(CONFIRMED_FOR_EVER) /* the former alone hides the latter within these bounds */
    memset(confirmed, 0, NODES);
#endif
    stand_on_map(n, RING, confirmed, 0);
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

/* A joiner whose map names no member any more begins anew. */
static void step_out_if_alone(World *w, int i) {
    if (w->node[i].phase == JOINER && !has_others(&w->node[i], i)) step_out(w, i);
}

/* ---- exchanging maps ---- */

static int answers_exchange(const Node *n, const Node *other, int x) {
    return other->phase >= FORMED || (other->phase == JOINER && is_present(n->map[x]));
}

static u8 leaving_on(const u8 *map) {
    u8 mask = 0;
    for (int x = 0; x < NODES; x++) mask |= (map[x] == LEAVING) << x;
    return mask;
}

/* m sends x its map; x merges it and answers with its own. Left out where neither would learn anything. */
static int can_exchange(const World *w, int m, int x) {
    const Node *n = &w->node[m], *other = &w->node[x];
    if (m == x || !forms(n) || n->call != IDLE || !is_live(n->map, x)) return 0;
    if (!answers_exchange(n, other, x)) return 1;
    if (other->phase == RING) return other->era >= n->era || n->era > other->regroup || leaving_on(n->map) & ~other->leavers;
    return memcmp(n->map, other->map, NODES) || n->era != other->era;
}

static void do_regroup(World *w, int i, u8 own);

/* Whether who leaves may count on us to form the ring that does without it: then the ring has to form anew. Said once: who answers that
   from a ring of the later era knows that there are enough. */
static int shrinks(const Node *n) {
#ifdef BACK_TO_RING
    (void)n;
    return 0;
#else
    if (n->insists) return 0;
    return count(n->map, is_member) > ups(n->map) && ups(n->map) < LIST + 2;
#endif
}

/* Who is about to leave the ring that forms, and hears that it has formed, leaves that ring. */
static void go_ring_to_leave(World *w, int i) {
    go_ring(&w->node[i], i);
    do_regroup(w, i, LEAVING);
}

static void hear_exchange(World *w, int i) {
    Node *n = &w->node[i];
    Node answered = *n;
    forget_call(n);
    if (answered.answer_phase == RING) {
        if (answered.answer_era < n->era) return; /* it has yet to notice how small the ring is */
        if (n->phase == JOINER || !has_others(n, i)) step_out(w, i);
        else if (shrinks(n)) {
            advance(n, (u8)(answered.answer_era + 1));
            n->insists = 1;
        }
        else if (n->map[i] == LEAVING) go_ring_to_leave(w, i);
        else go_ring(n, i);
        return;
    }
    advance(n, answered.answer_era);
    merge_into(w, i, answered.answer_map);
#ifdef SLOW_MAPS
    /* It counts for the life to which it was given, and for the one that gave it. */
    int peer = NODE(answered.peer);
    if (needs_confirmation(n, i) && answered.answer_era >= n->era && answered.answer_map[i] == n->map[i] && answered.answer_map[peer] && is_present(answered.answer_map[peer]) == is_present(n->map[peer]))
        n->holds |= 1u << peer;
#endif
    step_out_if_alone(w, i);
}

static void hear_exchange_dead(World *w, int i) {
    Node *n = &w->node[i];
    u8 map[NODES] = {0};
    map[NODE(n->peer)] = is_present(n->answer_phase) ? GONE : OLD_GONE;
    forget_call(n);
    merge_into(w, i, map);
    step_out_if_alone(w, i);
}

static void do_exchange(World *w, int m, int x) {
    Node *n = &w->node[m], *other = &w->node[x];
    if (!answers_exchange(n, other, x)) {
        call(n, EXCHANGE_DEAD, ID(x));
        n->answer_phase = n->map[x];
    } else if (other->phase == RING) {
        call(n, EXCHANGED, ID(x));
        n->answer_phase = RING;
        n->answer_era = other->era;
        if (n->era > other->era) {
            if (n->era > other->regroup) other->regroup = n->era;
            other->leavers |= leaving_on(n->map);
        }
        if (n->map[x] == GONE) outdate(w, x); /* it lives on, in another life */
    } else {
        merge_into(w, x, n->map);
        advance(other, n->era);
        call(n, EXCHANGED, ID(x));
        n->answer_phase = other->phase;
        n->answer_era = other->era;
        memcpy(n->answer_map, other->map, NODES);
        step_out_if_alone(w, x);
    }
#ifndef SLOW_MAPS
    if (n->call == EXCHANGE_DEAD) hear_exchange_dead(w, m);
    else hear_exchange(w, m);
#endif
}

/* Who has our very map may have answered so by now; what follows from the last answer is another step. */
static void acknowledge(World *w) {
    for (int i = 0; i < NODES; i++) {
        Node *n = &w->node[i];
        int personal = needs_confirmation(n, i);
        int full = n->phase == FORMED && !personal && ups(n->map) >= LIST + 2;
        for (int x = 0; x < NODES; x++) {
            const Node *other = &w->node[x];
            if (x == i || !forms(n) || !forms(other) || other->era != n->era || memcmp(other->map, n->map, NODES)) continue;
            if (personal) n->holds |= 1u << x;
            if (full || n->came) n->same |= 1u << x;
        }
        if (n->came && all_in(n, i, is_live, n->same)) {
            n->came = 0;
            w->broken = complete_maps(w, i);
        }
        if (!personal) n->holds = 0;
        if (!full && !n->came) n->same = 0;
    }
}

#ifdef SLOW_MAPS
/* Of an answer on its way only the news matters. */
static void forget_old_news(World *w) {
    for (int i = 0; i < NODES; i++) {
        Node *n = &w->node[i];
        if (n->call != EXCHANGED || n->answer_phase == RING) continue;
        int news = n->answer_era > n->era;
        if (!news && !needs_confirmation(n, i)) n->answer_era = 0;
        for (int x = 0; x < NODES; x++) {
            if (n->answer_map[x] > n->map[x]) news = 1;
            else if (!needs_confirmation(n, i) || (x != i && ID(x) != n->peer)) n->answer_map[x] = UNKNOWN;
        }
        if (needs_confirmation(n, i) && !(n->holds >> NODE(n->peer) & 1)) news = 1;
        if (!news) forget_call(n);
        else n->answer_phase = JOINER;
        if (!needs_confirmation(n, i)) n->peer = 0;
    }
}
#endif

/* Whether a joiner's map names a member that lives. */
static int knows_a_member(const World *w, int i) {
    const u8 *map = w->node[i].map;
    for (int x = 0; x < NODES; x++)
        if (x != i && is_present(map[x]) && is_member(map, x) && w->node[x].phase >= FORMED) return 1;
    return 0;
}

/* Whether i, about to leave, has yet to hear of somebody whom the former ring let in, or is the last member that a joiner knows. */
static int strands(const World *w, int i) {
    World then = *w;
    clear(&then, i);
    for (int x = 0; x < NODES; x++) {
        if ((w->node[x].phase == RING || joining(&w->node[x])) && !is_present(w->node[i].map[x])) return 1;
        if (w->node[x].phase == JOINER && !knows_a_member(&then, x)) return 1;
    }
    return 0;
}

/* A member of the ring of before notifies i, which forms: it asks all around, and whom that one names, before it takes anybody up. */
static void meet(World *w, int i, int stranger) {
    u8 map[NODES] = {0};
    unsigned named = 1u << stranger, found = ask_around(w, i, &named);
    for (int x = 0; x < NODES; x++)
        if (x != i && named >> x & 1) map[x] = found >> x & 1 ? (is_leaving(&w->node[x], x) ? LEAVING : UP) : OLD_GONE;
    merge_into(w, i, map);
}

/* The last confirmation arrives: of who joins, of who leaves, or of the map with which the ring has formed. */
static int can_conclude(const World *w, int i) {
    const Node *n = &w->node[i];
    if (!forms(n)) return 0;
    if (n->phase == JOINER || n->map[i] == LEAVING) {
#ifdef LEAVE_UNHEARD
        if (n->map[i] == LEAVING) return 1;
#endif
#ifdef JOIN_UNHEARD
        if (n->map[i] == JOINING) return 1;
#endif
        return all_in(n, i, is_live, n->holds) && (n->phase == JOINER || !strands(w, i));
    }
#ifdef FORM_EARLY
    return ups(n->map) >= LIST + 2;
#elif defined(WITHOUT_JOINERS)
    return ups(n->map) >= LIST + 2 && all_in(n, i, is_up, n->same);
#else
    return ups(n->map) >= LIST + 2 && all_in(n, i, is_live, n->same);
#endif
}

static void do_conclude(World *w, int i) {
    Node *n = &w->node[i];
    if (n->phase == JOINER) {
        n->phase = FORMED;
        declare(n, i, UP);
        w->former |= 1u << i;
        w->broken = complete_maps(w, i);
    } else if (n->map[i] == LEAVING)
        clear(w, i);
    else
        go_ring(n, i);
}

/* m puts j on its map, and j begins with that. */
static void join_forming(World *w, int j, int m) {
    u8 map[NODES] = {0};
    map[j] = JOINING;
    merge_into(w, m, map);
    stand_on_map(&w->node[j], JOINER, w->node[m].map, w->node[m].era);
    step_out_if_alone(w, j);
}

/* ---- back from ring mode ---- */

/* Where the list comes round, or somebody forms in a later era, all are asked, and whom they name. */
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

/* `own` is UP, or LEAVING if we are about to leave. */
static void do_regroup(World *w, int i, u8 own) {
    Node *n = &w->node[i];
    unsigned named = 0, found = ask_around(w, i, &named);
    u8 map[NODES] = {0};
    for (int x = 0; x < NODES; x++)
        if (found >> x & 1) map[x] = x == i ? own : n->leavers >> x & 1 || is_leaving(&w->node[x], x) ? LEAVING : UP;
        else if (named >> x & 1) map[x] = OLD_GONE;
    u8 era = (u8)(n->era + 1 > n->regroup ? n->era + 1 : n->regroup);
    if (ups(map) > LIST + 1) {
        if (n->regroup > n->era) n->era = n->regroup; /* tells whoever forms that there are too many */
        n->regroup = n->leavers = 0;
        if (own == LEAVING) call(n, LEAVE_DUE, ID(i));
        return;
    }
    call(n, REGROUPED, ID(i));
    n->regroup = n->leavers = 0;
    memcpy(n->answer_map, map, NODES);
    n->answer_era = era;
}

static void hear_regrouped(Node *n) {
    Node answered = *n;
    for (int x = 0; x < NODES; x++)
        if (n->map[x] > answered.answer_map[x]) answered.answer_map[x] = n->map[x];
    stand_on_map(n, FORMED, answered.answer_map, answered.answer_era);
    n->came = 1;
}

static int is_old(u8 known) { return known >= OLD_JOINING && known < OLD_GONE; }

/* That a former life is gone matters only as long as somebody takes it for alive, or may be about to. */
static void forget_the_gone(World *w) {
    for (int x = 0; x < NODES; x++) {
        int named = 0;
        for (int i = 0; i < NODES; i++) {
            const Node *n = &w->node[i];
            named |= is_old(n->map[x]) || is_old(n->answer_map[x]) || (n->call == EXCHANGE_DEAD && n->peer == ID(x) && is_old(n->answer_phase));
        }
        for (int i = 0; i < NODES && !named; i++) {
            Node *n = &w->node[i];
            if (n->map[x] == OLD_GONE) n->map[x] = UNKNOWN;
            if (n->answer_map[x] == OLD_GONE) n->answer_map[x] = UNKNOWN;
        }
    }
}

#ifndef ERAS
#define ERAS 2
#endif
/* A bound of the search: nobody goes to an era that is more than ERAS after somebody else's. */
static int within_eras(const World *w, int i) {
    u8 least = w->node[i].era;
    for (int x = 0; x < NODES; x++)
        if (w->node[x].phase >= FORMED && w->node[x].era < least) least = w->node[x].era;
    return w->node[i].era < least + ERAS;
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
