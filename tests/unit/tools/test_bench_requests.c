/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "bench_requests.h"

#define MIB ((uint64_t)1 << 20)

static struct bench_workload work(enum bench_access access)
{
    return (struct bench_workload){ .access = access, .len = 4096, .step = 4096 };
}

Test(bench_requests, strides_go_around_as_in_qemu)
{
    static const uint64_t want[] = { 5000, 35000, 65000, 29904, 59904 };
    struct bench_workload load = {
        .access = BENCH_STRIDE, .len = 3000, .step = 30000, .off = 5000
    };
    struct bench_requests requests;
    bench_requests_init(&requests, &load, 65096 + 3000);
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        const uint64_t off = bench_requests_next(&requests).off;
        cr_expect_eq(off, want[i], "%zu: %lu", i, off);
    }
}

Test(bench_requests, all_places_are_on_the_disk_and_whole)
{
    static const uint64_t sizes[] = { 4096, 8191, 5 * 4096, MIB + 512, 77 * MIB, UINT64_MAX / 2 };
    for (enum bench_access access = BENCH_RANDOM; access <= BENCH_ZIPF; access++) {
        for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
            const struct bench_workload load = work(access);
            struct bench_requests requests;
            bench_requests_init(&requests, &load, sizes[s]);
            for (unsigned i = 0; i < 1000; i++) {
                const uint64_t off = bench_requests_next(&requests).off;
                cr_assert(off % 4096 == 0 && off <= sizes[s] - 4096, "%lu of %lu", off, sizes[s]);
            }
        }
    }
}

Test(bench_requests, a_disk_without_room_is_no_endless_loop)
{
    const struct bench_workload load = work(BENCH_ZIPF);
    struct bench_requests requests;
    bench_requests_init(&requests, &load, 100);
    cr_expect_eq(bench_requests_next(&requests).off, 0);
}

/* How often each of @places was met, in @count requests. */
static unsigned *count_places(const struct bench_workload *load, unsigned places, unsigned count)
{
    unsigned *met = calloc(places, sizeof(*met));
    struct bench_requests requests;
    bench_requests_init(&requests, load, (uint64_t)places * load->len);
    for (unsigned i = 0; i < count; i++)
        met[bench_requests_next(&requests).off / load->len]++;
    return met;
}

static int descending(const void *a, const void *b)
{
    const unsigned left = *(const unsigned *)a, right = *(const unsigned *)b;
    return (left < right) - (left > right);
}

Test(bench_requests, random_places_are_met_alike)
{
    const struct bench_workload load = work(BENCH_RANDOM);
    unsigned *met = count_places(&load, 100, 100000);
    for (unsigned i = 0; i < 100; i++)
        cr_expect(met[i] > 850 && met[i] < 1150, "%u: %u", i, met[i]);
    free(met);
}

/* 1000 places, harmonic number 7.485: rank k is met 1000000 / (7.485 k) times. The number of places
 * is no power of two, so that ranks past the last are drawn, too. */
Test(bench_requests, zipf_goes_with_one_over_the_rank)
{
    static const unsigned ranks[] = { 1, 2, 3, 4, 7, 8, 100, 500, 511, 512, 1000 };
    const struct bench_workload load = work(BENCH_ZIPF);
    unsigned *met = count_places(&load, 1000, 1000000);
    qsort(met, 1000, sizeof(*met), descending);
    for (size_t i = 0; i < sizeof(ranks) / sizeof(ranks[0]); i++) {
        const double want = 1000000 / (7.485 * ranks[i]), got = met[ranks[i] - 1];
        const double room = ranks[i] < 10 ? 0.02 : 0.3; /* counts of neighbours get sorted */
        cr_expect(got > want * (1 - room) && got < want * (1 + room), "rank %u: %g, not %g",
                  ranks[i], got, want);
    }
    free(met);
}

/* Not one beside the other, where a cluster would have them all. */
Test(bench_requests, the_frequent_places_lie_scattered)
{
    const struct bench_workload load = work(BENCH_ZIPF);
    unsigned *met = count_places(&load, 1024, 100000);
    unsigned last = 0, near = 0, frequent = 0;
    for (unsigned i = 0; i < 1024; i++) {
        if (met[i] < 600) /* the 20 of the first ranks */
            continue;
        near += frequent > 0 && i - last < 4;
        last = i;
        frequent++;
    }
    cr_expect(frequent > 10 && frequent < 40 && near == 0, "%u, %u near", frequent, near);
    free(met);
}

Test(bench_requests, a_mix_has_its_share_of_writes_and_the_same_places)
{
    for (unsigned percent = 0; percent <= 100; percent += 25) {
        struct bench_workload load = work(BENCH_RANDOM), reads = load;
        struct bench_requests requests, beside;
        unsigned writes = 0;
        load.write_percent = percent;
        bench_requests_init(&requests, &load, 64 * MIB);
        bench_requests_init(&beside, &reads, 64 * MIB);
        for (unsigned i = 0; i < 10000; i++) {
            const struct bench_request next = bench_requests_next(&requests);
            cr_assert_eq(next.off, bench_requests_next(&beside).off);
            writes += next.write;
        }
        cr_expect(writes + 150 > percent * 100 && writes < percent * 100 + 150, "%u%%: %u", percent,
                  writes);
    }
}

Test(bench_requests, one_seed_is_one_list_and_another_is_another)
{
    for (enum bench_access access = BENCH_RANDOM; access <= BENCH_ZIPF; access++) {
        struct bench_workload load = work(access), other = load;
        other.seed = 1;
        cr_expect_eq(bench_requests_hash(&load, MIB, 5000), bench_requests_hash(&load, MIB, 5000));
        cr_expect_neq(bench_requests_hash(&load, MIB, 5000),
                      bench_requests_hash(&other, MIB, 5000));
        other = load;
        other.write_percent = 1;
        cr_expect_neq(bench_requests_hash(&load, MIB, 5000),
                      bench_requests_hash(&other, MIB, 5000));
        cr_expect_neq(bench_requests_hash(&load, MIB, 5000), bench_requests_hash(&load, MIB, 4999));
    }
}

/* On every machine: whoever changes these makes old reports worthless to compare with. */
Test(bench_requests, the_lists_are_those_that_they_have_always_been)
{
    static const uint64_t want[] = { UINT64_C(0xb165d292d45391a0), UINT64_C(0xb165d292d45391a0),
                                     UINT64_C(0xcc5b3855d4cbf1ad), UINT64_C(0x5462fbd5c4b68434) };
    for (enum bench_access access = BENCH_SEQ; access <= BENCH_ZIPF; access++) {
        struct bench_workload load = work(access);
        load.seed = 42;
        load.write_percent = 30;
        const uint64_t hash = bench_requests_hash(&load, 100 * MIB + 512, 10000);
        cr_expect_eq(hash, want[access], "%d: 0x%016lx", access, hash);
    }
}
