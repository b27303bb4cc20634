/* SPDX-License-Identifier: Apache-2.0
 *
 * Is every barrier needed? Each place that syncs is left out in turn, and some crash state of some
 * operation must then be wrong; a place that no operation reaches is a failure too.
 *
 *   - the sites of meta.h's table, through its own test hook: the operation runs without them;
 *   - every caller of io_sync() outside of it: the linker sends calls through here (--wrap), which
 *     names the caller; states are then searched as if its syncs had not been made.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "meta.h"
#include "play.h"

#define MAX_SITES   64
#define SITES_FLOOR 9 /* callers of io_sync() that operations reached when this was written */

extern char __executable_start[];
int __wrap_io_sync(struct io_file *file);
int __real_io_sync(struct io_file *file);

int __wrap_io_sync(struct io_file *file)
{
    tape_site = __builtin_return_address(0);
    const int rc = __real_io_sync(file);
    tape_site = NULL;
    return rc;
}

struct site {
    const void *address;
    char text[160]; /* function and line */
    bool missed;    /* without it some state is wrong */
};

static struct site sites[MAX_SITES];
static size_t site_count;

/* --- names ------------------------------------------------------------------------------------ */

static void name_site(struct site *site)
{
    char command[300], function[80] = "?", line[200] = "?";
    char self[200] = "";

    if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
        return;
    (void)snprintf(command, sizeof(command), "addr2line -f -e '%s' %#tx", self,
                   (const char *)site->address - 1 - __executable_start);
    FILE *out = popen(command, "r");
    if (out && fscanf(out, "%79s %199s", function, line) != 2)
        (void)snprintf(line, sizeof(line), "?");
    if (out)
        (void)pclose(out);
    const char *file = strrchr(line, '/');
    (void)snprintf(site->text, sizeof(site->text), "%.60s %.60s", function, file ? file + 1 : line);
}

static struct site *site_of(const void *address)
{
    for (size_t i = 0; i < site_count; i++) {
        if (sites[i].address == address)
            return &sites[i];
    }
    if (site_count == MAX_SITES)
        abort();
    sites[site_count].address = address;
    name_site(&sites[site_count]);
    return &sites[site_count++];
}

static void collect_sites(const struct tape *tape)
{
    for (size_t i = 0; i < tape->events.count; i++) {
        if (tape->events.items[i].site)
            (void)site_of(tape->events.items[i].site);
    }
}

/* --- searching -------------------------------------------------------------------------------- */

static bool reaches(const struct tape *tape, const void *address)
{
    for (size_t i = 0; i < tape->events.count; i++) {
        if (tape->events.items[i].site == address)
            return true;
    }
    return false;
}

static bool hurts(struct play *play, const void *without)
{
    struct states_result result;
    const struct states_how how = {
        .random = 12, .tears = 7, .seed = 1, .without = without, .stop = true
    };

    states_of(&play->stage.tape, &play->start, &play->judge, &how, &result);
    if (result.wrong && getenv("QIMG_CRASH_TELL"))
        printf("  %s/%s: %s\n", play->stage.layout->name, play->scene->name, result.first);
    return result.wrong > 0;
}

static void try_callers(struct play *play)
{
    collect_sites(&play->stage.tape);
    for (size_t i = 0; i < site_count; i++) {
        if (!sites[i].missed && reaches(&play->stage.tape, sites[i].address))
            sites[i].missed = hurts(play, sites[i].address);
    }
}

static void try_table(unsigned *missed, const struct scene *scene, const struct layout *layout)
{
    for (unsigned site = 0; site < META_SITE_COUNT; site++) {
        struct play play;
        if (*missed & 1u << site)
            continue;
        meta_test_dropped = 1u << site;
        const bool reached_before = meta_test_reached & 1u << site;
        meta_test_reached &= ~(1u << site);
        (void)play_scene(&play, scene, layout, 1);
        if ((meta_test_reached & 1u << site) && hurts(&play, NULL))
            *missed |= 1u << site;
        if (reached_before)
            meta_test_reached |= 1u << site;
        meta_test_dropped = 0;
        play_release(&play);
    }
}

static int report(unsigned missed)
{
    int wrong = 0;

    for (unsigned site = 0; site < META_SITE_COUNT; site++) {
        const bool reached = meta_test_reached & 1u << site;
        if (site == META_CORRUPT_BIT)
            continue; /* tests/unit/formats/qcow2/test_meta.c: no operation on a sound image gets
                         there */
        printf("%s: %s\n", meta_site_names[site],
               !reached              ? "NOT REACHED"
               : missed & 1u << site ? "missed"
                                     : "NOT MISSED");
        wrong += !(missed & 1u << site);
    }
    for (size_t i = 0; i < site_count; i++) {
        printf("%s: %s\n", sites[i].text, sites[i].missed ? "missed" : "NOT MISSED");
        wrong += !sites[i].missed;
    }
    return wrong;
}

int main(void)
{
    unsigned missed = 0;

    for (size_t s = 0; scene_at(s); s++) {
        for (size_t l = 0; l < layout_count; l++) {
            struct play play;
            if (!scene_fits(scene_at(s), &layouts[l]))
                continue;
            if (play_scene(&play, scene_at(s), &layouts[l], 1))
                try_callers(&play);
            play_release(&play);
            try_table(&missed, scene_at(s), &layouts[l]);
        }
    }
    const int wrong = report(missed);
    printf("%zu callers of io_sync, %d barriers without a witness\n", site_count, wrong);
    return wrong != 0 || site_count < SITES_FLOOR;
}
