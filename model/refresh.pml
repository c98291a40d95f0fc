/*
 * The refresh protocol of package oauthflow, for the model checker Spin.
 *
 * PROCS processes share one row of the connection table and one authorization
 * server. Every step on the row is atomic, as tokenstore.Store.Update makes it,
 * and is named after the Go function it stands for: hold both side by side. What a
 * process does between two steps may take any time that the timing assumptions
 * allow, and with CANFREEZE any time at all.
 *
 * Times are counters that tick() moves, so there is no end of time. Numbers that
 * grow (generations, tokens) are bounded by budgets for what goes wrong and for
 * what people do. FLAW_n leaves out one thing the protocol needs; model/check
 * expects that each is caught.
 */

/* --- configuration -------------------------------------------------------- */

#define ASK 0
#define GRACE 1
#define NEVER 2
#define REUSABLE 3

#define STRICT 0   /* each refresh token once; reuse revokes the family */
#define SAME 2     /* reuse within the window W brings the same successor again */
#define REPLACE 3  /* reuse within W brings another successor and withdraws the first */
#define KEEPS 4    /* does not rotate */
#define LENIENT 5  /* refuses reuse and revokes nothing */
#define SELDOM 6   /* like STRICT, and does not rotate each time */

#ifndef PROCS
#define PROCS 2
#endif
#ifndef POLICY
#define POLICY ASK
#endif
#ifndef SERVER
#define SERVER STRICT
#endif
#ifndef FAULTS
#define FAULTS 1      /* crashes, lost messages, freezes, in all */
#endif
#ifndef ODD
#define ODD 1         /* store errors, requests not sent, refusals that spend nothing */
#endif
#ifndef ENDS
#define ENDS 1        /* how often the access token ends */
#endif
#ifndef PEOPLE
#define PEOPLE 0      /* disconnects and reconnects */
#endif
#ifndef FIRST
#define FIRST 0       /* the access token at the beginning: FRESH, CLOSING or GONE */
#endif

/* Timing, in ticks. The defaults keep Timing.Validate's inequality with nothing to
 * spare: D = max(T, S+E+N) + C + E. */
#ifndef S
#define S 0
#endif
#ifndef E
#define E 1
#endif
#ifndef N
#define N 1
#endif
#ifndef T
#define T 2
#endif
#ifndef C
#define C 0
#endif
#ifndef D
#define D 3
#endif
#ifndef W
#define W 6           /* ReuseGrace; a take-over can be in time if W >= D+1 + S+E+N */
#endif

#define REACH (S + E + N)
#ifdef FLAW_13
#define GUARD (S + N)
#else
#define GUARD REACH
#endif
#ifdef FLAW_15
#define VERDICT (D + 1)
#else
#define VERDICT (C + E)
#endif
#ifdef CANFREEZE
#define STRONG false  /* what holds under the timing assumptions only */
#else
#define STRONG true
#endif

/* --- the row (tokenstore.Connection) -------------------------------------- */

#define ACTIVE 0
#define LOST 1        /* reauth_required (lost_rotation) */
#define DEAD 2        /* reauth_required (invalid_grant) */

#define FRESH 2
#define CLOSING 1     /* usable, and due to be renewed */
#define GONE 0

#define ORPHAN PROCS  /* stands for presentations that no process can answer for any more */
#define MOST 3        /* presentations are counted up to here */
#define NONE 255
#define BIT(i) (1 << (i))

byte grant = 1;       /* GrantID; 0: disconnected */
byte gen = 1;         /* Generation */
byte rt = 1;          /* which refresh token of the grant's family is stored */
byte status = ACTIVE;
byte access = FIRST;  /* the stored access token */
byte parentGen, parentNumber;
#ifdef OBSERVED
byte kept;            /* Kept, counted up to keptEnough, which is 1 here */
#define keeps (kept == 1)
#else
#define keeps false
#endif

byte attID = NONE;    /* Attempt; NONE: nil */
byte attOpen;         /* Attempt.Open, a set */
byte attGen, attNumber;
byte attLeft;         /* ticks until the deadline has passed */
byte attAge;          /* ticks since Attempt.Started; counted for grace */

/* --- the processes -------------------------------------------------------- */

mtype = { idle, viewed, looking, begun, checked, sent, got, told, untold, unsent, orphaned }

mtype pc[PROCS] = idle;
byte pGrant[PROCS], pGen[PROCS], pRT[PROCS], pNumber[PROCS];  /* presentation */
byte watch[PROCS];    /* stopwatch: ticks since before the attempt was begun */
byte left[PROCS];     /* ticks that the assumptions still leave to this step */
byte successor[PROCS];/* the refresh token of the reply */
bool frozen[PROCS];   /* the assumptions do not hold for this process */

mtype = { none, token, no, refusal }
mtype answer[PROCS] = none; /* on its way to a process in sent */

/* --- the wire and the authorization server -------------------------------- */

byte wire[PROCS];     /* the refresh token under way to the server; 0: none */
byte wireGrant[PROCS], wireLeft[PROCS];
#ifdef FLAW_18
bool again[PROCS];    /* the transport will send it once more */
#endif

#define FAMILIES 3
byte current[FAMILIES];  /* the token that works; index is the grant */
byte first[FAMILIES];    /* the token whose first use opened the window */
byte since[FAMILIES];    /* ticks since */
bool revoked[FAMILIES];

/* --- the properties ------------------------------------------------------- */

/* A property that does not hold is named by Spin's message: none is ever true. */
#define ensure(name, holds) assert((holds) || name)
#ifdef SHORTEST
#define property byte   /* a breadth-first search can hide nothing */
#else
#define property hidden byte
#endif

property oneHolder;          /* nobody holds a refresh token that another one holds */
property spentNeverSent;     /* nor sends one whose successor is stored */
property noLiveFamilyKilled; /* no token that somebody has is revoked for reuse */
property usableNotRisked;    /* nothing is asked while there is a usable token to lose */
property repetitionHasCause; /* each repetition has its crash, loss or freeze */
property onceUnderNever;     /* never: no repetition at all, whatever time does */
property newerTokenStays;    /* no successor is overwritten by an older one */
property onlyTokenKept;      /* the only token that works is not thrown away */
property newerGrantWins;     /* nor is another grant touched, or a removed one revived */
property nothingOrphaned;    /* what a disconnect leaves at the provider is revoked */
property lossHasCause;       /* without a fault all is well in the end */
property providerDecides;    /* ask, grace: only the provider's no is reauth_required */
property storedWorks;        /* in the end the stored token works, or the row says why not */
property noLimbo;            /* in the end there is a usable token, or reauth_required */

/* --- bookkeeping of the checks -------------------------------------------- */

byte grants = 1;
byte faults, odd, ends, people;
byte shown[FAMILIES];  /* the newest generation whose token was sent */
byte times[FAMILIES];  /* how often that was */
byte orphan;           /* disconnected tokens that are to be revoked: a token */
byte unsure;           /* the grant of a connect whose answer from the store was lost */

#define on(i) (pGrant[i] == grant && pGen[i] == gen)
#define connected (grant != 0)
#define usable (access != GONE)
#define holds(i) (pc[i] == checked || pc[i] == sent || pc[i] == got)

/* live: somebody has, or is about to get, the token of family f that works. */
#define hasLive(i, f) (pGrant[i] == f && (pc[i] == got || pc[i] == sent && answer[i] == token) && successor[i] == current[f])

/* Revocation of a disconnected or late token: it ends a family only if it is the
 * one that works. */
inline revoke(f, t) {
	if
	:: t == current[f] -> revoked[f] = true
	:: else
	fi
}

/* --- protocol.go: decide -------------------------------------------------- */

#ifdef FLAW_17
#define held false
#else
#define held usable
#endif

#define wanted (connected && status == ACTIVE && access != FRESH)
#define mayBegin (wanted && attID == NONE)
#define over (wanted && attID != NONE && attLeft == 0)
#ifdef FLAW_6
#define stale false
#define about true
#else
#define stale (attGen != gen)
#define about (attGen == gen)
#endif
#define inGrace (POLICY == GRACE && attNumber == 1 && attAge + GUARD <= W)
#define mayTakeOver (over && about && (inGrace || POLICY == REUSABLE || keeps || (POLICY != NEVER && !held)))
#define mayLose (over && about && POLICY == NEVER && !usable)

/* --- protocol.go: present, tidy ------------------------------------------- */

inline clearAttempt() {
	attID = NONE; attOpen = 0; attGen = 0; attNumber = 0; attLeft = 0; attAge = 0
}

inline stamp(i) {
	attID = i;
#ifdef FLAW_16
	attLeft = 255;
#else
	attLeft = D + 1;
#endif
	pNumber[i] = attNumber
}

/* A process is done with its presentation. Whoever is in Attempt.Open then cannot
 * be struck off any more. */
inline forget(i) {
	if
	:: attOpen & BIT(i) -> attOpen = (attOpen & ~BIT(i)) | BIT(ORPHAN)
	:: else
	fi;
	if
	:: attID == i -> attID = ORPHAN
	:: else
	fi;
	pc[i] = idle; frozen[i] = false; answer[i] = none;
	pGrant[i] = 0; pGen[i] = 0; pRT[i] = 0; pNumber[i] = 0; watch[i] = 0; left[i] = 0; successor[i] = 0
}

/* present: opens an attempt, or takes one over. Else errMoved. */
inline present(i) {
	watch[i] = 0;
	if
#ifdef FLAW_1
	:: on(i) ->
#else
	:: on(i) && mayBegin ->
#endif
		attOpen = BIT(i); attGen = gen; attNumber = 1; attAge = 0; stamp(i);
		pc[i] = begun; printf("P%d present: begin\n", i)
#ifndef FLAW_1
	:: on(i) && mayTakeOver ->
		attOpen = attOpen | BIT(i); attNumber = (attNumber < MOST -> attNumber + 1 : MOST); stamp(i);
		pc[i] = begun; printf("P%d present: take over, presentation %d\n", i, attNumber)
#endif
	:: else -> forget(i); printf("P%d present: errMoved\n", i)
	fi
}

inline clearStale() { clearAttempt() }

inline lose() {
	status = LOST; /* the attempt stays */
#ifdef FLAW_4
	clearAttempt(); gen++
#endif
}

/* --- outcome.go ----------------------------------------------------------- */

inline notSent(i) {
	if
#ifdef FLAW_2
	:: on(i) && attID != NONE -> clearAttempt()
#else
#ifdef FLAW_11
	:: on(i) && attID == i && attGen == pGen[i] ->
#else
	:: on(i) && attID != NONE && attGen == pGen[i] && (attOpen & BIT(i)) ->
#endif
#ifdef FLAW_10
		attOpen = 0;
#else
		attOpen = attOpen & ~BIT(i);
#endif
		if
		:: attOpen == 0 ->
			clearAttempt();
			if
			:: status == LOST -> status = ACTIVE
			:: else
			fi
		:: else ->
			if
			:: attID == i && attLeft > 1 -> attLeft = 1
			:: else
			fi
		fi
#endif
	:: else /* errMoved */
	fi
}

inline unknown(i) {
	if
	:: on(i) && attID == i ->
		if
		:: attLeft > N + 1 -> attLeft = N + 1
		:: else
		fi
	:: else
	fi
}

inline dead(i) {
	if
	:: on(i) && attID == i ->
		if
		:: attOpen != BIT(i) -> status = LOST
		:: else -> status = DEAD
		fi;
		clearAttempt()
	:: else
	fi
}

/* What put() leaves in the record. Nothing received is overwritten by something
 * older, and no other grant is touched. */
inline put(i) {
	ensure(newerGrantWins, pGrant[i] == grant);
	ensure(newerTokenStays, successor[i] >= rt || !STRONG && SERVER == REPLACE);
#ifdef OBSERVED
	kept = (successor[i] == pRT[i] -> 1 : 0);
#endif
	rt = successor[i]; access = FRESH; status = ACTIVE;
	parentGen = pGen[i]; parentNumber = pNumber[i];
	if
	:: attID == i -> clearAttempt()
	:: else
	fi
}

#ifdef FLAW_9
#define replaces(i) (pGrant[i] == grant && gen == pGen[i] + 1 && parentGen == pGen[i] && parentNumber < pNumber[i])
#else
#define replaces(i) (pGrant[i] == grant && gen == pGen[i] + 1 && parentGen == pGen[i] && parentNumber < pNumber[i] && attID == i)
#endif
#ifdef FLAW_7
#define firstArm(i) (connected && pGen[i] == gen)
#else
#ifdef FLAW_8
#define firstArm(i) (on(i) && attID == i)
#else
#ifdef FLAW_14
#define firstArm(i) (on(i) && status == ACTIVE)
#else
#define firstArm(i) on(i)
#endif
#endif
#endif

/* overtaken (keep.go): a token that came too late. The only one that works is
 * never thrown away. */
inline overtaken(i) {
	if
	:: !connected ->
#ifndef FLAW_12
		revoke(pGrant[i], successor[i]);
#endif
		skip
	:: pGrant[i] == grant ->
		ensure(onlyTokenKept, successor[i] <= rt || !STRONG && SERVER == REPLACE)
	:: else /* connected again: the newer grant stays */
	fi
}

inline commit(i) {
	if
	:: firstArm(i) -> gen = gen + 1; put(i); printf("P%d commit: generation %d, RT%d\n", i, gen, rt)
	:: !firstArm(i) && replaces(i) -> gen = gen + 1; put(i); printf("P%d commit, second arm: generation %d, RT%d\n", i, gen, rt)
	:: else -> printf("P%d commit: errMoved, overtaken with RT%d\n", i, successor[i]); overtaken(i)
	fi
}

/* --- grant.go ------------------------------------------------------------- */

#ifdef OBSERVED
#define forgetKept kept = 0
#else
#define forgetKept skip
#endif

inline disconnect() {
	printf("disconnect\n"); orphan = rt; people++;
	forgetKept;
	grant = 0; rt = 0; status = ACTIVE; access = GONE; parentGen = 0; parentNumber = 0; clearAttempt();
#ifdef FLAW_7
	gen = 0
#else
	gen = gen + 1
#endif
}

inline connect() {
	people++; grants++; forgetKept;
	grant = grants; gen = gen + 1; rt = 1; status = ACTIVE; access = FRESH; parentGen = 0; parentNumber = 0;
	clearAttempt();
	current[grant] = 1; first[grant] = 0; orphan = 0; printf("connect: generation %d\n", gen)
}

/* A connect whose answer was lost is repeated only if nothing came after it
 * (Handle.connect). */
inline repeat() {
#ifdef FLAW_21
	if
	:: grant != unsure ->
		printf("the connect before is repeated\n");
		ensure(newerGrantWins, false)
	:: else
	fi;
#endif
	unsure = 0
}

/* --- one process: flight.go, keep.go -------------------------------------- */

#define mayErr (odd < ODD)
#define mayFail (faults < FAULTS)

/* Idle processes are all alike, so the first of them goes. */
#define inTurn(i) (i == 0 || pc[i - 1] != idle || wire[i - 1])

/* Reading the record, and what follows from it without a request. */
inline read(i) {
	if
	:: mayBegin || mayTakeOver -> pGrant[i] = grant; pGen[i] = gen; pRT[i] = rt; pc[i] = viewed;
		printf("P%d reads: generation %d, RT%d\n", i, gen, rt)
	:: over && stale -> clearStale(); printf("P%d clearStale\n", i)
	:: mayLose -> lose(); printf("P%d lose\n", i)
	fi
}

/* maySend, and what must be true when it says yes. */
inline maySend(i) {
	byte j;
	j = 0;
	do
	:: j < PROCS ->
		ensure(oneHolder, !STRONG || j == i || !(holds(j) && pGrant[j] == pGrant[i] && pGen[j] == pGen[i]));
		ensure(oneHolder, !STRONG || j == i || !(wire[j] == pRT[i] && wireGrant[j] == pGrant[i]));
		j++
	:: else -> break
	od;
	j = 0;
	pc[i] = checked; left[i] = E; printf("P%d maySend: yes\n", i)
}

inline send(i) {
	/* A token whose successor is stored is not sent. */
	ensure(spentNeverSent, !STRONG || pGrant[i] != grant || pRT[i] >= rt);
	if
	:: pGen[i] > shown[pGrant[i]] -> shown[pGrant[i]] = pGen[i]; times[pGrant[i]] = 1
	:: pGen[i] == shown[pGrant[i]] ->
		times[pGrant[i]]++;
		ensure(onceUnderNever, POLICY != NEVER || times[pGrant[i]] == 1);
		ensure(repetitionHasCause, times[pGrant[i]] <= faults + 1)
	:: else -> ensure(spentNeverSent, !STRONG)
	fi;
	wire[i] = pRT[i]; wireGrant[i] = pGrant[i]; wireLeft[i] = N;
#ifdef FLAW_18
	again[i] = true;
#endif
	left[i] = 0;
	pc[i] = sent; printf("P%d sends RT%d\n", i, pRT[i])
}

proctype Process(byte me) {
endProcess:
	do
	/* renew */
	:: atomic { pc[me] == idle && inTurn(me) && (mayBegin || mayTakeOver || over && stale || mayLose) -> read(me) }
	/* open: one Update, which may fail either way; then a second look */
	:: atomic { pc[me] == viewed -> present(me) }
	:: atomic { pc[me] == viewed && mayErr -> odd++; present(me); printf("  the store's answer to that is lost\n");
		if
		:: pc[me] == begun -> pc[me] = looking
		:: else
		fi }
	:: atomic { pc[me] == viewed && mayErr -> odd++; watch[me] = 0; pc[me] = unsent; printf("P%d: the store fails, no attempt begun\n", me) }
	:: atomic { pc[me] == looking && attID == me -> pc[me] = begun;
#ifdef FLAW_19
		watch[me] = 0
#endif
		}
	:: atomic { pc[me] == looking -> pc[me] = unsent; watch[me] = 0; printf("P%d cannot or may not send\n", me) }
	/* the gate, the only way to the wire */
	:: atomic { pc[me] == begun && watch[me] <= S && !wire[me] -> maySend(me) }
	:: atomic { pc[me] == begun && (watch[me] > S || mayErr) ->
		if
		:: watch[me] <= S -> odd++
		:: else
		fi;
		pc[me] = unsent; watch[me] = 0; printf("P%d cannot or may not send\n", me) }
	:: atomic { pc[me] == checked -> send(me) }
	/* what comes of it */
	:: atomic { pc[me] == sent && answer[me] == token -> pc[me] = got; left[me] = C + E; answer[me] = none; watch[me] = 0 }
	:: atomic { pc[me] == sent && answer[me] == no -> pc[me] = told; left[me] = VERDICT; answer[me] = none; watch[me] = 0 }
	:: atomic { pc[me] == sent && answer[me] == refusal -> pc[me] = unsent; answer[me] = none; watch[me] = 0 }
	/* no answer in time; a fault, unless the message was lost before */
	:: atomic { pc[me] == sent && watch[me] >= T && (answer[me] == none && !wire[me] || mayFail) ->
		if
		:: answer[me] != none || wire[me] -> faults++; answer[me] = none
		:: else
		fi;
		watch[me] = 0; successor[me] = 0;
#ifdef FLAW_20
		pc[me] = unsent
#else
		pc[me] = untold
#endif
		}
	:: atomic { pc[me] == sent && watch[me] < T && mayFail -> /* the connection breaks */
		faults++; answer[me] = none; watch[me] = 0; successor[me] = 0; pc[me] = untold }
	/* record: repeated until the store has answered */
#ifdef FLAW_5
	:: atomic { pc[me] == got && attID == me -> clearAttempt() }
	:: atomic { pc[me] == got && attID != me -> commit(me); forget(me) }
#else
#ifdef FLAW_6
	:: atomic { pc[me] == got && on(me) -> gen = gen + 1; rt = successor[me]; access = FRESH; status = ACTIVE; pc[me] = orphaned; left[me] = 0 }
	:: atomic { pc[me] == orphaned -> if :: attID == me -> clearAttempt() :: else fi; forget(me) }
#else
	:: atomic { pc[me] == got -> commit(me); forget(me) }
	:: atomic { pc[me] == got && mayErr && on(me) -> odd++; commit(me); printf("  the store's answer to that is lost\n") } /* stored, and the answer is lost */
#endif
#endif
	:: atomic { pc[me] == told -> dead(me); printf("P%d dead: status %d\n", me, status); forget(me) }
	:: atomic { pc[me] == untold -> unknown(me); printf("P%d unknown\n", me); forget(me) }
	:: atomic { pc[me] == unsent -> notSent(me); printf("P%d notSent: %d presentations open\n", me, attOpen != 0); forget(me) }
	/* a crash: nothing is left but what is stored and what is on the wire */
	:: atomic { pc[me] != idle && pc[me] != viewed && mayFail -> faults++; printf("P%d crashes\n", me); forget(me) }
#ifdef CANFREEZE
	:: atomic { holds(me) && !frozen[me] && mayFail -> faults++; frozen[me] = true; printf("P%d freezes\n", me) }
#endif
	od
}

/* --- the authorization server --------------------------------------------- */

/* Reuse: this server takes it for theft. Nobody may have, or be about to get, what
 * it revokes; nor may there be a usable access token to lose. */
inline reuse(i, f) {
	byte q;
	q = 0;
	do
	:: q < PROCS -> ensure(noLiveFamilyKilled, !STRONG || revoked[f] || !hasLive(q, f)); q++
	:: else -> break
	od;
	q = 0;
	ensure(noLiveFamilyKilled, !STRONG || revoked[f] || grant != f || rt != current[f]);
#ifndef RISKED
	ensure(usableNotRisked, !STRONG || revoked[f] || grant != f || !usable);
#endif
	if
	:: SERVER != LENIENT -> revoked[f] = true; printf("the provider sees RT%d again and revokes the family\n", wire[i])
	:: else
	fi
}

#define window(f) (since[f] <= W)

inline process(i) {
	byte f, reply;
	f = wireGrant[i];
	reply = 0;
	if
	:: revoked[f]
	:: !revoked[f] && SERVER == KEEPS -> reply = wire[i]
	:: !revoked[f] && SERVER == SELDOM && wire[i] == current[f] -> reply = wire[i]
	:: !revoked[f] && SERVER != KEEPS && wire[i] == current[f] -> first[f] = wire[i]; since[f] = 0; current[f] = current[f] + 1; reply = current[f]
	:: !revoked[f] && SERVER == SAME && wire[i] == first[f] && window(f) -> reply = current[f]
	:: !revoked[f] && SERVER == REPLACE && wire[i] == first[f] && window(f) -> current[f] = current[f] + 1; reply = current[f]
	:: else -> reuse(i, f)
	fi;
	if
	:: pc[i] == sent && answer[i] == none && !successor[i] ->
		successor[i] = reply;
		if
		:: reply -> answer[i] = token; printf("the provider answers P%d: RT%d\n", i, reply)
		:: else -> answer[i] = no; printf("the provider answers P%d: invalid_grant\n", i)
		fi
	:: else /* nobody waits for it any more */
	fi;
	f = 0; reply = 0
}

inline arrived(i) {
#ifdef FLAW_18
	if
	:: again[i] -> again[i] = false
	:: else -> wire[i] = 0; wireGrant[i] = 0; wireLeft[i] = 0
	fi
#else
	wire[i] = 0; wireGrant[i] = 0; wireLeft[i] = 0
#endif
}

proctype Server(byte i) {
endServer:
	do
	:: atomic { wire[i] -> process(i); arrived(i) }
	:: atomic { wire[i] && mayErr && pc[i] == sent && answer[i] == none -> /* 429 and the like: nothing is spent */
		odd++; answer[i] = refusal; arrived(i);
		if
		:: pGen[i] == shown[pGrant[i]] -> times[pGrant[i]]--
		:: else
		fi }
	:: atomic { wire[i] && mayFail -> faults++; printf("P%d's request is lost\n", i); arrived(i) } /* the request is lost */
	:: atomic { pc[i] == sent && answer[i] != none && mayFail -> /* the reply is lost */
		faults++; answer[i] = none; printf("the reply to P%d is lost\n", i) }
	od
}

/* --- time and people ------------------------------------------------------ */

/* Time passes unless somebody must move first. */
#ifdef HASTE
#define late(i) ((pc[i] == begun || pc[i] == looking) && watch[i] >= S)
#else
#define late(i) false
#endif
#define ready(i) (!late(i) && (frozen[i] || !((pc[i] == checked || pc[i] == got || pc[i] == told) && left[i] == 0 || pc[i] == sent && watch[i] >= T)))
#define timed(i) ((pc[i] == begun || pc[i] == looking) && watch[i] <= S || (pc[i] == checked || pc[i] == sent) && watch[i] < T)
#define counting(i) (timed(i) || left[i] > 0 || wire[i])

#if PROCS == 3
#define allReady (ready(0) && ready(1) && ready(2) && !(wire[0] && !wireLeft[0]) && !(wire[1] && !wireLeft[1]) && !(wire[2] && !wireLeft[2]))
#define anyCounting (counting(0) || counting(1) || counting(2))
#else
#define allReady (ready(0) && ready(1) && !(wire[0] && !wireLeft[0]) && !(wire[1] && !wireLeft[1]))
#define anyCounting (counting(0) || counting(1))
#endif

inline tick() {
	byte k;
	printf("        time passes\n");
	k = 0;
	do
	:: k < PROCS ->
		if
		:: timed(k) -> watch[k]++
		:: else
		fi;
		if
		:: left[k] > 0 -> left[k]--
		:: else
		fi;
		if
		:: wireLeft[k] > 0 -> wireLeft[k]--
		:: else
		fi;
		k++
	:: else -> break
	od;
	k = 0;
	if
#ifdef FLAW_16
	:: false
#else
	:: attLeft > 0 -> attLeft--
#endif
	:: else
	fi;
#if POLICY == GRACE
	if
	:: attID != NONE && attAge <= W -> attAge++
	:: else
	fi;
#endif
#if SERVER == SAME || SERVER == REPLACE
	do
	:: k < FAMILIES ->
		if
		:: first[k] && since[k] <= W -> since[k]++
		:: else
		fi;
		k++
	:: else -> break
	od;
	k = 0
#else
	skip
#endif
}

#ifdef FLAW_16
#define deadlineAhead false
#else
#define deadlineAhead (attLeft > 0)
#endif
#if POLICY == GRACE
#define aging (attID != NONE && attAge <= W)
#else
#define aging false
#endif
#if SERVER == SAME || SERVER == REPLACE
#define windowOpen (first[1] && since[1] <= W || first[2] && since[2] <= W)
#else
#define windowOpen false
#endif

proctype Clock() {
endClock:
	do
	:: atomic { allReady && (anyCounting || deadlineAhead || aging || windowOpen) -> tick() }
	od
}

/* The access token ends, people press buttons. None of it needs to happen. */
proctype World() {
endWorld:
	do
	:: atomic { access != GONE && ends < ENDS -> ends++; access = GONE; printf("the access token ends\n") }
	:: atomic { access == FRESH && ends < ENDS -> ends++; access = CLOSING; printf("the access token is due\n") }
#if PEOPLE > 0
	:: atomic { connected && people < PEOPLE -> disconnect() }
	:: atomic { people < PEOPLE && grants < FAMILIES - 1 -> connect() }
	:: atomic { people < PEOPLE && grants < FAMILIES - 1 && mayErr -> odd++; connect(); unsure = grant; printf("  the store's answer to that is lost\n") }
	:: atomic { unsure -> repeat() }
	:: atomic { orphan -> revoke(grants, orphan); orphan = 0 }
#endif
#ifdef CANREVOKE
	:: atomic { connected && !revoked[grant] && people < 1 -> people++; revoked[grant] = true; printf("the person revokes the grant at the provider\n") } /* at the provider */
#endif
	od
}

/* When nothing can happen any more: no limbo, and every word in the row is true. */
#if PROCS == 3
#define allIdle (pc[0] == idle && pc[1] == idle && pc[2] == idle)
#else
#define allIdle (pc[0] == idle && pc[1] == idle)
#endif
#define settled (!connected || status != ACTIVE || usable)
#define open (attID != NONE && attGen == gen)

proctype Judge() {
	atomic { timeout ->
		ensure(noLimbo, allIdle && settled);
		/* Without a fault, nothing is lost and nothing is in doubt. */
		ensure(lossHasCause, faults || !connected || (status == ACTIVE || revoked[grant]) && !open);
		ensure(nothingOrphaned, faults || connected || revoked[grants]);
		/* Under ask and grace only the provider ends a connection. */
		ensure(providerDecides, !connected || status == ACTIVE || POLICY == NEVER || revoked[grant] || SERVER == LENIENT && rt < current[grant]);
		/* What is stored works, unless the row says otherwise. */
		ensure(storedWorks, !connected || status != ACTIVE || revoked[grant] || open || SERVER == KEEPS || rt == current[grant] || !STRONG && SERVER == REPLACE)
	}
}

init {
	atomic {
		byte n;
		current[1] = 1;
		do
		:: n < PROCS -> run Process(n); run Server(n); n++
		:: else -> break
		od;
		run Clock();
		run World();
		run Judge()
	}
}
