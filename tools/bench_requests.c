/* SPDX-License-Identifier: Apache-2.0
 *
 * Random numbers are a hash of seed and index (SplitMix64), so that which requests are writes does
 * not depend on how many numbers their places took.
 */
#include "bench_requests.h"

#define GOLDEN UINT64_C(0x9e3779b97f4a7c15) /* 2^64 divided by the golden ratio */

static uint64_t mix(uint64_t word)
{
    word = (word ^ word >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    word = (word ^ word >> 27) * UINT64_C(0x94d049bb133111eb);
    return word ^ word >> 31;
}

/* Which of a request's random numbers. */
enum draw { DRAW_WRITE, DRAW_PLACE };

static uint64_t draw(const struct bench_requests *requests, enum draw what)
{
    return mix(mix(requests->load.seed + GOLDEN) + (requests->index * 2 + what) * GOLDEN);
}

/* A number below @bound. */
static uint64_t below(uint64_t word, uint64_t bound)
{
    return (uint64_t)((unsigned __int128)word * bound >> 64);
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* By steps of about the golden section a few ranks are spread evenly, and all of them meet every
 * place once. */
static uint64_t scatter_among(uint64_t places)
{
    uint64_t step = below(GOLDEN, places);
    while (step > 1 && gcd(step, places) != 1)
        step--;
    return step > 0 ? step : 1;
}

void bench_requests_init(struct bench_requests *requests, const struct bench_workload *load,
                         uint64_t size)
{
    *requests = (struct bench_requests){
        .load = *load, .size = size, .off = load->off, .places = size / load->len
    };
    requests->scatter = scatter_among(requests->places);
}

/* A rank from 1 to places with a probability that goes with 1/rank. One of the powers of two is
 * drawn, all alike, then a rank from there to the next one; a rank is taken with the probability
 * power / rank, which makes of the even steps the curve, and else drawn anew. No more than half of
 * them are not taken, but for those past the last place. */
static uint64_t zipf_rank(const struct bench_requests *requests)
{
    const uint64_t powers = 64 - (uint64_t)__builtin_clzll(requests->places);
    uint64_t word = draw(requests, DRAW_PLACE);
    for (;;) {
        const uint64_t power = (uint64_t)1 << below(word, powers);
        const uint64_t rank = power + below(mix(word + 1), power);
        const unsigned __int128 bar = (unsigned __int128)mix(word + 2) * rank;
        if (rank <= requests->places && bar >> 64 < power)
            return rank;
        word = mix(word + GOLDEN);
    }
}

static uint64_t random_place(const struct bench_requests *requests)
{
    const uint64_t places = requests->places;
    if (places == 0)
        return 0;
    if (requests->load.access == BENCH_RANDOM)
        return below(draw(requests, DRAW_PLACE), places);
    const unsigned __int128 rank = zipf_rank(requests);
    return (uint64_t)((rank * requests->scatter + mix(requests->load.seed)) % places);
}

/* Moves on, and back to the beginning where less than a request is left, as qemu-img does. */
static void advance(struct bench_requests *requests)
{
    const uint64_t size = requests->size, len = requests->load.len;
    requests->off = size <= len ? 0 : (requests->off + requests->load.step) % (size - len);
}

struct bench_request bench_requests_next(struct bench_requests *requests)
{
    const struct bench_workload *load = &requests->load;
    struct bench_request next = { .off = requests->off, .write = load->write_percent == 100 };
    if (load->write_percent > 0 && load->write_percent < 100)
        next.write = below(draw(requests, DRAW_WRITE), 100) < load->write_percent;
    if (load->access == BENCH_RANDOM || load->access == BENCH_ZIPF)
        next.off = random_place(requests) * load->len;
    else
        advance(requests);
    requests->index++;
    return next;
}

uint64_t bench_requests_hash(const struct bench_workload *load, uint64_t size, uint64_t count)
{
    struct bench_requests requests;
    uint64_t hash = load->len;
    bench_requests_init(&requests, load, size);
    for (uint64_t i = 0; i < count; i++) {
        const struct bench_request next = bench_requests_next(&requests);
        hash = mix((hash + next.off) * GOLDEN + next.write);
    }
    return hash;
}
