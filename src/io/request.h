/* SPDX-License-Identifier: Apache-2.0
 *
 * What the back ends share in handling one request and a list of them.
 */
#ifndef IO_REQUEST_H
#define IO_REQUEST_H

#include "io.h"

/* A list of requests through next, in order. Not to be copied while it is empty. */
struct request_list {
    struct io_request *first, **last;
    unsigned count;
};

void request_list_init(struct request_list *list);
void request_list_push(struct request_list *list, struct io_request *request);
struct io_request *request_list_pop(struct request_list *list);

/* Moves all of @from to the end of @to. */
void request_list_move(struct request_list *to, struct request_list *from);

/* May the kernel have this request as it is, or do its file's alignment rules ask for a bounce? */
bool request_is_aligned(const struct io_request *request);

/* Finishes a request that needs no back end at all (nothing to do, or refused at the door). */
bool request_is_trivial(struct io_request *request);

/* Does what is left of @request (from done) in this thread, waiting for it. Any alignment. */
int request_perform(struct io_request *request);

/* The bytes of a read past the end of the file, and its success. */
void request_finish_read(struct io_request *request);

/* Fills @out with at most @max pieces of @request's memory from byte @skip on. */
unsigned request_slice(const struct io_request *request, uint64_t skip, struct iovec *out,
                       unsigned max);

/* Copies between @flat and the memory of @request from byte @skip on. */
void request_scatter(const struct io_request *request, uint64_t skip, const void *flat,
                     uint64_t len);
void request_gather(const struct io_request *request, uint64_t skip, void *flat, uint64_t len);

/* Counters. */
void stats_count_read(struct io_engine *engine, uint64_t bytes);
void stats_count_write(struct io_engine *engine, uint64_t bytes);
void stats_started(struct io_engine *engine, unsigned requests);
void stats_finished(struct io_engine *engine, unsigned requests);

#endif
