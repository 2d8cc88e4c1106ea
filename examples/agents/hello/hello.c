/* An agent that says who it is, then a line every two seconds, until it is told to end. Static: it needs nothing else. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t ended;

static void end(int signal) {
    (void)signal;
    ended = 1;
}

static const char *variable(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

int main(void) {
    struct sigaction action = {.sa_handler = end};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    /* A line reaches the log when it is written, not when a buffer is full. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("hello, I am agent %s of %s, user %d\n", variable("COFFERDAM_AGENT_ID", "nobody"),
           variable("COFFERDAM_ORGANIZATION_ID", "nowhere"), (int)getuid());
    printf("greeting: %s\n", variable("GREETING", "none; set GREETING to change this"));
    for (long beat = 1; !ended; beat++) {
        printf("beat %ld\n", beat);
        struct timespec pause = {.tv_sec = 2};
        nanosleep(&pause, NULL);
    }
    printf("told to end, goodbye\n");
    return 0;
}
