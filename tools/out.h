/* SPDX-License-Identifier: Apache-2.0
 *
 * Results as text for people or as JSON, from one description: a command says what there is,
 * key by key, and the same calls print
 *
 *     {                                  lazy refcounts: false
 *         "lazy-refcounts": false,       bitmaps:
 *         "bitmaps": [                       [0]:
 *             {                                  name: b0
 *
 * byte for byte as QEMU's two printers do. JSON keys are in QEMU's order, which is that of a
 * hash table: the order of the calls is that order, and no sorting is done here.
 */
#ifndef TOOLS_OUT_H
#define TOOLS_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define OUT_DEPTH 16

struct out {
    FILE *file;
    bool json;
    unsigned indent; /* levels of 4 columns that the whole is moved right by */
    unsigned depth;  /* open containers */
    struct {
        bool list;
        size_t count; /* members so far */
    } level[OUT_DEPTH];
};

struct out out_json(FILE *file);
struct out out_human(FILE *file, unsigned indent);

/* @key is NULL for members of a list and for the outermost value. */
void out_object(struct out *out, const char *key);
void out_list(struct out *out, const char *key);
void out_close(struct out *out);

void out_text(struct out *out, const char *key, const char *value); /* NULL value: nothing */
void out_number(struct out *out, const char *key, uint64_t value);
void out_signed(struct out *out, const char *key, int64_t value);
void out_real(struct out *out, const char *key, double value); /* four digits; is finite */
void out_flag(struct out *out, const char *key, bool value);

/* A struct described by a table: members that are 0 are not there. */
struct out_field {
    const char *key;
    size_t at; /* of a uint32_t */
};

/* Prints the fields of @from; returns how many were there. With @out NULL it only counts. */
size_t out_fields(struct out *out, const struct out_field *fields, const void *from);

#endif
