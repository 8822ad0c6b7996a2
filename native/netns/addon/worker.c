/* The one thread of the process that enters other network namespaces. It never runs JavaScript.
 *
 * Callers take turns and wait for the result; a job is a few system calls. The thread goes back to its own namespace
 * after every job; when it cannot, it ends, and the next job gets a new thread, which starts in the namespace of its
 * creator. Signals are blocked here so that handlers run on threads that expect them. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include "addon.h"

struct job {
	int netns_fd;
	int (*run)(void *arg);
	void *arg;
	int result;
};

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER; /* held by the caller whose job is under way */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the two variables below */
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static pthread_cond_t done = PTHREAD_COND_INITIALIZER;
static struct job *pending;
static bool alive;

/* Runs one job. Returns false when the thread is no longer in its own namespace. Worker thread. */
static bool perform(struct job *job, int home)
{
	int entered = job->netns_fd == NETNS_FRESH ? unshare(CLONE_NEWNET) : setns(job->netns_fd, CLONE_NEWNET);

	if (entered != 0) {
		job->result = failed(job->netns_fd == NETNS_FRESH ? STEP_UNSHARE : STEP_SETNS);
		return true;
	}
	job->result = job->run(job->arg);
	return setns(home, CLONE_NEWNET) == 0;
}

static void *worker_main(void *home_arg)
{
	int home = (int)(intptr_t)home_arg;
	bool returned = true;

	pthread_mutex_lock(&lock);
	while (returned) {
		while (!pending)
			pthread_cond_wait(&wake, &lock);
		struct job *job = pending;
		pthread_mutex_unlock(&lock);
		returned = perform(job, home);
		pthread_mutex_lock(&lock);
		pending = NULL;
		alive = returned;
		pthread_cond_signal(&done);
	}
	pthread_mutex_unlock(&lock);
	close(home);
	return NULL;
}

/* Starts the worker; 0 or a negative result. JavaScript thread, with `lock` held. */
static int start_worker(void)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	pthread_t thread;
	int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	if (home < 0)
		return failed(STEP_THREAD);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, 256 * 1024);
	errno = pthread_create(&thread, &attributes, worker_main, (void *)(intptr_t)home);
	pthread_attr_destroy(&attributes);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (errno != 0) {
		int result = failed(STEP_THREAD);
		close(home);
		return result;
	}
	alive = true;
	return 0;
}

int netns_run(int netns_fd, int (*run)(void *arg), void *arg)
{
	struct job job = { .netns_fd = netns_fd, .run = run, .arg = arg };

	if (netns_fd == NETNS_HERE)
		return run(arg);
	pthread_mutex_lock(&turn);
	pthread_mutex_lock(&lock);
	job.result = alive ? 0 : start_worker();
	if (job.result == 0) {
		pending = &job;
		pthread_cond_signal(&wake);
		while (pending)
			pthread_cond_wait(&done, &lock);
	}
	pthread_mutex_unlock(&lock);
	pthread_mutex_unlock(&turn);
	return job.result;
}
