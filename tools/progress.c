/* SPDX-License-Identifier: Apache-2.0
 *
 * Progress and the two ways to ask a running job: SIGUSR1 (how far?), and SIGINT,
 * SIGTERM or SIGHUP (stop).
 */
#include "progress.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static volatile sig_atomic_t asked, interrupted;

static void on_usr1(int number)
{
    (void)number;
    asked = 1;
}

static void on_interrupt(int number)
{
    interrupted = number;
}

static void catch_signal(int number, void (*handler)(int))
{
    struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

static double seconds_since(struct timespec began)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - began.tv_sec) + (double)(now.tv_nsec - began.tv_nsec) / 1e9;
}

/* "  3:05 left", wide enough to cover what stood there; nothing before it can be guessed. */
static void print_time_left(const struct progress *progress, float percent)
{
    double gone = seconds_since(progress->began);
    char text[32] = "";
    if (percent > 0 && percent < 100 && gone >= 1) {
        unsigned left = (unsigned)(gone * (double)(100 - percent) / (double)percent + 0.5);
        snprintf(text, sizeof(text), "%u:%02u left", left / 60, left % 60);
    }
    printf("  %-14s", text);
}

static void print(struct progress *progress, float percent)
{
    if (progress->shown) {
        printf("    (%3.2f/100%%)", (double)percent);
        if (progress->tell_time)
            print_time_left(progress, percent);
        putchar('\r');
        fflush(stdout);
    } else if (asked) {
        asked = 0;
        fprintf(stderr, "    (%3.2f/100%%)\n", (double)percent);
    }
}

void progress_init(struct progress *progress, const struct tool *tool, bool shown, float step)
{
    *progress = (struct progress){ .shown = shown, .step = step };
    progress->tell_time = shown && !tool->as_qemu && isatty(STDOUT_FILENO);
    clock_gettime(CLOCK_MONOTONIC, &progress->began);
    if (!shown)
        catch_signal(SIGUSR1, on_usr1);
}

void progress_start(struct progress *progress)
{
    print(progress, 0);
}

void progress_set(struct progress *progress, float percent)
{
    bool edge = percent <= 0 || percent >= 100;
    bool moved = percent > progress->printed + progress->step ||
                 percent < progress->printed - progress->step;
    if (!edge && !moved)
        return;
    progress->printed = percent;
    print(progress, percent > 100 ? 100 : percent);
}

int progress_job(void *user, uint64_t done, uint64_t total)
{
    if (total > 0 && done > 0) /* the beginning was told */
        progress_set(user, (float)(100.0 * (double)done / (double)total));
    return interrupted;
}

void progress_end(struct progress *progress)
{
    if (!progress->shown)
        return;
    printf("\n");
    fflush(stdout);
}

void progress_catch_interrupt(void)
{
    static const int stops[] = { SIGINT, SIGTERM, SIGHUP };
    for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
        struct sigaction was;
        /* nohup(1), or a shell that runs us in the background, had it ignored */
        if (sigaction(stops[i], NULL, &was) == 0 && was.sa_handler != SIG_IGN)
            catch_signal(stops[i], on_interrupt);
    }
}

void progress_die_if_interrupted(void)
{
    if (!interrupted)
        return;
    fflush(stdout);
    catch_signal(interrupted, SIG_DFL);
    raise(interrupted);
}
