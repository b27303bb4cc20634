/* SPDX-License-Identifier: Apache-2.0
 *
 * Progress and the two ways to ask a running job: SIGUSR1 (how far?) and SIGINT (stop).
 */
#include "progress.h"

#include <signal.h>
#include <stdio.h>

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

static void print(struct progress *progress, float percent)
{
    if (progress->shown) {
        printf("    (%3.2f/100%%)\r", (double)percent);
        fflush(stdout);
    } else if (asked) {
        asked = 0;
        fprintf(stderr, "    (%3.2f/100%%)\n", (double)percent);
    }
}

void progress_init(struct progress *progress, bool shown, float step)
{
    *progress = (struct progress){ .shown = shown, .step = step };
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
    if (total > 0)
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
    catch_signal(SIGINT, on_interrupt);
    catch_signal(SIGTERM, on_interrupt);
}

void progress_die_if_interrupted(void)
{
    if (!interrupted)
        return;
    fflush(stdout);
    catch_signal(interrupted, SIG_DFL);
    raise(interrupted);
}
