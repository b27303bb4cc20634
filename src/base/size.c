/* SPDX-License-Identifier: Apache-2.0
 *
 * Sizes to text and back. No locale is asked: the decimal mark is a dot.
 */
#include "size.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "bits.h"
#include "checked.h"

/* A number as written: what stands before and behind the dot. */
struct number {
    uint64_t whole;
    double fraction; /* 0 <= fraction < 1 */
    bool negative;
    bool any_digit;
    bool fraction_nonzero; /* also where it is too small for a double */
    bool too_big;
    bool ended; /* a dot followed the whole digits */
    bool hex;   /* goes with no suffix: B and E are digits there */
};

static void add_digit(struct number *n, unsigned base, unsigned digit)
{
    n->any_digit = true;
    if (!mul_fits(n->whole, base, &n->whole) || !add_fits(n->whole, digit, &n->whole))
        n->too_big = true;
}

static unsigned hex_value(char c)
{
    return (unsigned)(isdigit((unsigned char)c) ? c - '0' : (c | 0x20) - 'a' + 10);
}

static const char *read_fraction(const char *at, struct number *n)
{
    double scale = 1, value = 0;

    for (; isdigit((unsigned char)*at); at++) {
        n->any_digit = true;
        if (*at != '0')
            n->fraction_nonzero = true;
        if (scale < 1e18) { /* further digits are below a byte of any unit */
            scale *= 10;
            value = value * 10 + (*at - '0');
        }
    }
    n->fraction = value / scale;
    return at;
}

static const char *read_number(const char *at, struct number *n)
{
    while (isspace((unsigned char)*at))
        at++;
    n->negative = *at == '-';
    if (*at == '-' || *at == '+')
        at++;
    if (at[0] == '0' && (at[1] == 'x' || at[1] == 'X') && isxdigit((unsigned char)at[2])) {
        for (at += 2; isxdigit((unsigned char)*at); at++)
            add_digit(n, 16, hex_value(*at));
        n->hex = true;
        return at;
    }
    for (; isdigit((unsigned char)*at); at++)
        add_digit(n, 10, (unsigned)(*at - '0'));
    n->ended = *at == '.' && n->any_digit;
    return *at == '.' ? read_fraction(at + 1, n) : at;
}

/* The bits to shift by for the suffix at @at, and where the text goes on. */
static const char *read_suffix(const char *at, unsigned *shift)
{
    static const char letters[] = "bkmgtpe";
    const char *found = *at ? strchr(letters, tolower((unsigned char)*at)) : NULL;

    *shift = found ? 10 * (unsigned)(found - letters) : 0;
    return found ? at + 1 : at;
}

/* QEMU reads a number that is out of range (below zero is, also -0) no further than its digits:
 * whatever follows them makes it no number at all. */
static int out_of_range(const struct number *n, bool has_suffix)
{
    return n->ended || has_suffix ? -EINVAL : -ERANGE;
}

int size_parse(const char *text, uint64_t *out)
{
    struct number n = { 0 };
    unsigned shift = 0;
    uint64_t bytes;

    const char *digits_end = read_number(text, &n);
    const char *at = n.hex ? digits_end : read_suffix(digits_end, &shift);
    if (!n.any_digit || *at != '\0')
        return -EINVAL;
    if (n.negative || n.too_big)
        return out_of_range(&n, at != digits_end);
    if (n.fraction_nonzero && shift == 0)
        return -EINVAL; /* half a byte */

    uint64_t unit = UINT64_C(1) << shift;
    uint64_t rest = (uint64_t)(n.fraction * (double)unit + 0.5);
    if (!mul_fits(n.whole, unit, &bytes) || !add_fits(bytes, rest, &bytes))
        return -ERANGE;
    *out = bytes;
    return 0;
}

void size_print(uint64_t bytes, char *buf, size_t room)
{
    static const char *const units[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" };
    size_t power = 0;

    while (power + 1 < ARRAY_COUNT(units) && bytes >= UINT64_C(1000) << (10 * power))
        power++;
    double number = (double)bytes / (double)(UINT64_C(1) << (10 * power));
    (void)snprintf(buf, room, "%0.3g %sB", number, units[power]);
}
