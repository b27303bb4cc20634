/* SPDX-License-Identifier: Apache-2.0
 *
 * The names that -f accepts, from the registry of formats, sorted once.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "qimg/image.h"

#define FORMATS_MAX 32

static const char *names[FORMATS_MAX + 1];
static pthread_once_t sorted = PTHREAD_ONCE_INIT;

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void sort_names(void)
{
    size_t count = 0;
    while (format_registry[count] && count < FORMATS_MAX) {
        names[count] = format_registry[count]->name;
        count++;
    }
    qsort(names, count, sizeof(names[0]), by_name);
}

const char *const *qimg_formats(void)
{
    pthread_once(&sorted, sort_names);
    return names;
}
