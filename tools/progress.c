/* SPDX-License-Identifier: Apache-2.0
 *
 * The line, the bar and the objects that tell how far a job is.
 */
#include "progress.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "text.h"

#define BAR_EVERY  0.1 /* seconds */
#define JSON_EVERY 0.2
#define BAR_MOST   40 /* columns */
#define BAR_LEAST  8
#define CLEAR_LINE "\r\x1b[K"

static volatile sig_atomic_t asked;

void progress_ask(void)
{
    asked = 1;
}

static double seconds_since(struct timespec began)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - began.tv_sec) + (double)(now.tv_nsec - began.tv_nsec) / 1e9;
}

static float percent_of(const struct progress *progress)
{
    if (progress->total == 0)
        return 0;
    float percent = (float)(100.0 * (double)progress->done / (double)progress->total);
    return percent > 100 ? 100 : percent;
}

/* --- what the clock says -------------------------------------------------------------------- */

/* Is it time for another report? The rate follows what happened since the last one. */
static bool is_due(struct progress *progress, double every)
{
    const double now = seconds_since(progress->began), gone = now - progress->told;
    if (gone < every)
        return false;
    if (progress->done >= progress->told_done) {
        const double latest = (double)(progress->done - progress->told_done) / gone;
        const double weight = progress->rate > 0 ? 0.2 : 1;
        progress->rate += weight * (latest - progress->rate);
    }
    progress->told = now;
    progress->told_done = progress->done;
    return true;
}

/* Seconds; negative: no telling. */
static double time_left(const struct progress *progress)
{
    if (progress->rate <= 0 || progress->total < progress->done)
        return -1;
    return (double)(progress->total - progress->done) / progress->rate;
}

/* --- the bar -------------------------------------------------------------------------------- */

static bool terminal_takes_bar(void)
{
    const char *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb") != 0;
}

static size_t terminal_width(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

static void append_time(char *text, size_t room, double seconds, const char *what)
{
    const size_t len = strlen(text);
    if (seconds < 0 || seconds > 100 * 3600)
        return;
    const unsigned s = (unsigned)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text + len, room - len, "  %u:%02u:%02u%s", s / 3600, s / 60 % 60, s % 60, what);
    else
        snprintf(text + len, room - len, "  %u:%02u%s", s / 60, s % 60, what);
}

/* "  1.2 GiB of 4 GiB  512 MiB/s  0:06 left" */
static void describe(const struct progress *progress, bool over, char *text, size_t room)
{
    char done[TEXT_SIZE_ROOM], total[TEXT_SIZE_ROOM], rate[TEXT_SIZE_ROOM];
    const double gone = seconds_since(progress->began);
    const double per_second = over && gone > 0 ? (double)progress->done / gone : progress->rate;
    int len = 0;
    *text = '\0';
    if (!progress->spec.in_steps && progress->total > 0)
        len = snprintf(text, room, "  %s of %s", text_size(progress->done, done),
                       text_size(progress->total, total));
    if (len > 0 && per_second > 0)
        snprintf(text + len, room - (size_t)len, "  %s/s", text_size((uint64_t)per_second, rate));
    if (over)
        append_time(text, room, gone, "");
    else
        append_time(text, room, time_left(progress), " left");
}

static void draw_bar(struct progress *progress, bool over)
{
    char text[128], bar[BAR_MOST + 1];
    describe(progress, over, text, sizeof(text));
    const float percent = percent_of(progress);
    const size_t fixed = strlen(" 100% []") + strlen(text) + 1, width = terminal_width();
    size_t room = width > fixed ? width - fixed : 0;
    if (room > BAR_MOST)
        room = BAR_MOST;
    if (room < BAR_LEAST) {
        printf(CLEAR_LINE "%4.0f%%%.*s", (double)percent, width > 6 ? (int)width - 6 : 0, text);
    } else {
        const size_t full = (size_t)((float)room * percent / 100);
        memset(bar, '#', full);
        memset(bar + full, ' ', room - full);
        bar[room] = '\0';
        printf(CLEAR_LINE "%4.0f%% [%s]%s", (double)percent, bar, text);
    }
    fflush(stdout);
}

/* --- JSON ----------------------------------------------------------------------------------- */

static void print_object(const struct progress *progress, const struct progress_outcome *outcome)
{
    fprintf(stderr,
            "{\"job\": \"%s\", \"unit\": \"%s\", \"done\": %" PRIu64 ", \"total\": %" PRIu64,
            progress->tool->command->name, progress->spec.in_steps ? "steps" : "bytes",
            progress->done, progress->total);
    if (!outcome) {
        fprintf(stderr, ", \"per-second\": %.0f", progress->rate);
        if (time_left(progress) >= 0)
            fprintf(stderr, ", \"seconds-left\": %.1f", time_left(progress));
    } else {
        fprintf(stderr, ", \"seconds\": %.3f, \"result\": \"%s\", \"exit-code\": %d",
                seconds_since(progress->began), outcome->result, outcome->exit_code);
        if (outcome->error) {
            fputs(", \"error\": ", stderr);
            text_json(stderr, outcome->error);
        }
    }
    fputs("}\n", stderr);
}

/* --- the line of qemu-img ------------------------------------------------------------------- */

static void print_line(struct progress *progress, float percent)
{
    if (progress->spec.style != PROGRESS_SHOWN || progress->bar)
        return;
    printf("    (%3.2f/100%%)\r", (double)percent);
    fflush(stdout);
}

static void set_percent(struct progress *progress, float percent)
{
    const bool edge = percent <= 0 || percent >= 100;
    const bool moved = percent > progress->printed + progress->spec.step ||
                       percent < progress->printed - progress->spec.step;
    if (!edge && !moved)
        return;
    progress->printed = percent;
    print_line(progress, percent);
}

/* A job may report the same place twice. */
static bool is_news(const struct progress *progress)
{
    return progress->total > 0 && percent_of(progress) != progress->printed;
}

static void answer(const struct progress *progress)
{
    if (!asked)
        return;
    asked = 0;
    fprintf(stderr, "    (%3.2f/100%%)\n", (double)percent_of(progress));
}

/* --- all of them ---------------------------------------------------------------------------- */

void progress_init(struct progress *progress, const struct tool *tool, struct progress_spec spec)
{
    if (spec.quiet && spec.style == PROGRESS_SHOWN)
        spec.style = PROGRESS_NONE;
    *progress = (struct progress){ .spec = spec, .tool = tool };
    progress->bar = spec.style == PROGRESS_SHOWN && !tool->as_qemu && terminal_takes_bar();
    clock_gettime(CLOCK_MONOTONIC, &progress->began);
}

void progress_start(struct progress *progress)
{
    print_line(progress, 0);
}

void progress_update(struct progress *progress, uint64_t done, uint64_t total)
{
    progress->done = done;
    progress->total = total;
    if (is_news(progress))
        set_percent(progress, percent_of(progress));
    if (progress->bar && is_due(progress, BAR_EVERY))
        draw_bar(progress, false);
    if (progress->spec.style == PROGRESS_JSON && is_due(progress, JSON_EVERY))
        print_object(progress, NULL);
    answer(progress);
}

void progress_complete(struct progress *progress)
{
    progress->done = progress->total;
    set_percent(progress, 100);
}

void progress_clear(const struct progress *progress)
{
    if (progress->bar && !progress->settled)
        fputs(CLEAR_LINE, stdout);
}

void progress_settle(struct progress *progress)
{
    if (!progress->bar || progress->settled || progress->total == 0)
        return;
    progress->settled = true;
    draw_bar(progress, true);
    putchar('\n');
    fflush(stdout);
}

void progress_end(struct progress *progress, const struct progress_outcome *outcome)
{
    progress_settle(progress);
    if (progress->spec.style == PROGRESS_JSON)
        print_object(progress, outcome);
    if (progress->spec.style == PROGRESS_SHOWN && !progress->bar) {
        putchar('\n');
        fflush(stdout);
    }
}
