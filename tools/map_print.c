/* SPDX-License-Identifier: Apache-2.0
 *
 * A fragmented image has millions of entries: numbers are written by hand, into a large buffer.
 */
#include "map_print.h"

#include <inttypes.h>

#include "text.h"

struct map_entry map_entry_of(const struct qimg_extent *extent)
{
    bool unallocated = extent->kind == QIMG_UNALLOCATED;
    bool packed = extent->kind == QIMG_COMPRESSED;
    return (struct map_entry){
        .start = extent->guest_off,
        .length = extent->len,
        .offset = extent->host_off,
        .depth = extent->layer,
        .present = !unallocated,
        .zero = unallocated || extent->kind == QIMG_ZERO || extent->hole,
        .data = packed || extent->kind == QIMG_DATA,
        .compressed = packed,
        .has_offset = !packed && extent->host_off != QIMG_NO_OFFSET,
    };
}

bool map_entry_continues(const struct map_entry *entry, const struct map_entry *next)
{
    return entry->length > 0 && entry->depth == next->depth && entry->present == next->present &&
           entry->zero == next->zero && entry->data == next->data &&
           entry->compressed == next->compressed && entry->has_offset == next->has_offset &&
           (!entry->has_offset || entry->offset + entry->length == next->offset);
}

static void put_text(const char *text)
{
    fputs_unlocked(text, stdout);
}

static void put_number(uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    fwrite_unlocked(digits + at, 1, sizeof(digits) - at, stdout);
}

static void put_flag(const char *key, bool value)
{
    put_text(key);
    put_text(value ? "true" : "false");
}

void map_entry_print_json(const struct map_entry *entry, bool more)
{
    put_text("{ \"start\": ");
    put_number(entry->start);
    put_text(", \"length\": ");
    put_number(entry->length);
    put_text(", \"depth\": ");
    put_number(entry->depth);
    put_flag(", \"present\": ", entry->present);
    put_flag(", \"zero\": ", entry->zero);
    put_flag(", \"data\": ", entry->data);
    put_flag(", \"compressed\": ", entry->compressed);
    if (entry->has_offset) {
        put_text(", \"offset\": ");
        put_number(entry->offset);
    }
    put_text(more ? "},\n" : "}");
}

void map_entry_print_human(const struct map_entry *entry, const char *file)
{
    if (!entry->data || entry->zero)
        return;
    printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64, entry->start, entry->length,
           entry->offset);
    text_show(stdout, file);
    putchar('\n');
}
