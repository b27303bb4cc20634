/* SPDX-License-Identifier: Apache-2.0
 *
 * Is every barrier needed? Each place that syncs is left out in turn, and some crash state of some
 * operation must then be wrong; a place that no operation reaches is a failure too.
 *
 *   - the sites of meta.h's table, through its own test hook: the operation runs without them;
 *   - every caller of io_sync() outside of it: the linker sends calls through here (--wrap), which
 *     names the caller; states are then searched as if its syncs had not been made. The sources
 *     are read for callers that no operation reached.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "meta.h"
#include "play.h"

#define MAX_SITES 64
#define SOURCES   QIMG_SOURCE_DIR "/src/formats/qcow2"

/* Files whose syncs others prove. */
static const char *const proved_elsewhere[] = {
    "create.c",        /* tests/unit/formats/qcow2/test_create.c */
    "mender.c",        /* test_repair.c, test_mender.c: the power is cut under repair */
    "shadow_gather.c", /* orders nothing: asks whether the disk is there (cli/test_faults.py) */
};

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
    (void)snprintf(command, sizeof(command), "addr2line -i -f -e '%s' %#tx", self,
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
        .random = 12,
        .tears = 7,
        .seed = 1,
        .without = without,
        .stop = true,
        .whole = play->scene->whole,
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

/* --- the corrupt bit ------------------------------------------------------------------------ */

static void must(bool fine, const char *what)
{
    if (fine)
        return;
    fprintf(stderr, "corrupt bit: %s\n", what);
    abort();
}

/* The first L2 table lies on the L1 table. */
static void lay_tables_on_each_other(struct io_engine *engine)
{
    const struct io_open_options how = { .writable = true };
    struct io_file *file;
    uint8_t word[8];

    must(io_file_open(engine, "disk", &how, &file) == 0, "open");
    must(io_read_exact(file, 40, word, sizeof(word), NULL) == 0, "read");
    const uint64_t l1_off = load_be64(word);
    store_be64(word, l1_off | QCOW2_COPIED);
    must(io_write_exact(file, l1_off, word, sizeof(word)) == 0, "write");
    must(io_sync(file) == 0, "sync");
    io_file_close(file);
}

/* A write that meets corruption has failed, and the power goes at once. Is the image marked? */
static bool stays_marked(void)
{
    const struct io_sim_cut cut = { .survivors = IO_SIM_NONE };
    struct io_engine *after;
    struct stage stage;
    uint8_t features = 0;

    stage_open(&stage, scene_at(0), &layouts[0], 1);
    lay_tables_on_each_other(stage.engine);
    must(stage_begin(&stage) == 0, "begin");
    must(stage_write(&stage, 0, 512, 1) == -EIO, "the write does not fail");
    must(io_sim_power_cut(stage.engine, &cut, &after) == 0, "cut");
    must(io_sim_get(after, "disk", 79, &features, 1), "header");
    io_engine_free(after);
    stage_close(&stage);
    return features & QCOW2_INCOMPAT_CORRUPT;
}

static void try_corrupt_bit(unsigned *missed)
{
    must(stays_marked(), "not marked");
    meta_test_dropped = 1u << META_CORRUPT_BIT;
    if (!stays_marked())
        *missed |= 1u << META_CORRUPT_BIT;
    meta_test_dropped = 0;
}

/* --- callers that nothing reached ----------------------------------------------------------- */

static bool is_proved_elsewhere(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(proved_elsewhere); i++)
        if (strcmp(proved_elsewhere[i], name) == 0)
            return true;
    return false;
}

static FILE *open_source(const char *name)
{
    char path[400];

    (void)snprintf(path, sizeof(path), "%s/%s", SOURCES, name);
    FILE *file = fopen(path, "r");
    must(file != NULL, path);
    return file;
}

/* Does the source line of @site say @what? Site texts are "function file.c:line". */
static bool site_says(const struct site *site, const char *what)
{
    char name[80], text[400] = "";
    unsigned line;

    if (sscanf(site->text, "%*s %79[^:]:%u", name, &line) != 2)
        return false;
    FILE *file = open_source(name);
    for (unsigned i = 0; i < line && fgets(text, sizeof(text), file); i++)
        continue;
    (void)!fclose(file);
    return strstr(text, what) != NULL;
}

/* Is line @line of a file, in @function, a site? The last call of a function may have become a
 * jump: then the site is where that function is called. */
static bool was_reached(const char *name, unsigned line, const char *function)
{
    char place[160];

    for (size_t i = 0; i < site_count; i++) {
        const char *colon = strrchr(sites[i].text, ':');
        (void)snprintf(place, sizeof(place), " %s:%u", name, line);
        const size_t len = strlen(place);
        if (colon && strlen(sites[i].text) >= len && strstr(sites[i].text, place) &&
            strtoul(colon + 1, NULL, 10) == line)
            return true;
        (void)snprintf(place, sizeof(place), "%s(", function);
        if (site_says(&sites[i], place))
            return true;
    }
    return false;
}

/* The name of the function that begins on this line, if one does. */
static void note_function(const char *text, char *function, size_t room)
{
    const char *paren = strchr(text, '('), *begin = paren;

    if (!paren || !strchr("abcdefghijklmnopqrstuvwxyz", text[0]))
        return;
    while (begin > text && begin[-1] != ' ' && begin[-1] != '*')
        begin--;
    (void)snprintf(function, room, "%.*s", (int)(paren - begin), begin);
}

static int unreached_in(const char *name)
{
    char text[400], function[120] = "?";
    FILE *file = open_source(name);
    int unreached = 0;

    for (unsigned line = 1; fgets(text, sizeof(text), file); line++) {
        note_function(text, function, sizeof(function));
        if (!strstr(text, "io_sync(") || was_reached(name, line, function))
            continue;
        printf("%s %s:%u: NOT REACHED\n", function, name, line);
        unreached++;
    }
    (void)!fclose(file);
    return unreached;
}

static int unreached_callers(void)
{
    DIR *folder = opendir(SOURCES);
    int unreached = 0;

    must(folder != NULL, SOURCES);
    for (const struct dirent *entry; (entry = readdir(folder));) {
        const size_t len = strlen(entry->d_name);
        if (len > 2 && strcmp(entry->d_name + len - 2, ".c") == 0 &&
            !is_proved_elsewhere(entry->d_name))
            unreached += unreached_in(entry->d_name);
    }
    (void)closedir(folder);
    return unreached;
}

/* --- all sites -------------------------------------------------------------------------------- */

static int report(unsigned missed)
{
    int wrong = 0;

    for (unsigned site = 0; site < META_SITE_COUNT; site++) {
        const bool reached = meta_test_reached & 1u << site;
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
    try_corrupt_bit(&missed);
    const int wrong = report(missed) + unreached_callers();
    printf("%zu callers of io_sync, %d barriers without a witness\n", site_count, wrong);
    return wrong != 0;
}
