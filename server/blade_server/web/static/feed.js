// What keeps the page live: one poll for a whole list, one event stream for a job that is looked at. Both rest while the page is hidden, so
// that tabs in the background cost nothing and do not use up the six connections that a browser has for a host.

import { checkSession, get, jobPath } from "./api.js";
import { showLink } from "./link.js";

/** Calls `load(signal)` now and then, `interval` ms after the last answer, while the page is visible. Returns {stop, now}. */
export function poll(load, interval) {
  let timer = 0;
  let running = null;
  let stopped = false;
  const turn = async () => {
    clearTimeout(timer);
    if (stopped || running || document.hidden) return;
    running = new AbortController();
    let pause = interval;
    try {
      await load(running.signal);
    } catch (error) {
      if (!stopped) showLink("lost"); // it may answer, but not with what this page is to show
      pause = Math.max(interval, 2000);
    }
    running = null;
    if (!stopped) timer = setTimeout(turn, pause);
  };
  document.addEventListener("visibilitychange", turn);
  turn();
  return {
    now: turn,
    stop() {
      stopped = true;
      clearTimeout(timer);
      running?.abort();
      document.removeEventListener("visibilitychange", turn);
    },
  };
}

/** Follows one job until it is final: `onJob(job)` for each snapshot. Returns {stop}. */
export function watch(id, onJob) {
  let source = null;
  let timer = 0;
  let over = false;
  const close = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };
  const open = () => {
    close();
    if (over || document.hidden) return;
    source = new EventSource(`${jobPath(id, ":watch")}?minInterval=0.5s`);
    source.onmessage = (event) => {
      showLink("live");
      onJob(JSON.parse(event.data).job);
    };
    source.addEventListener("end", () => {
      over = true;
      close();
    });
    const again = () => {
      close();
      if (!over && !document.hidden) showLink("lost");
      timer = setTimeout(open, 2000);
      checkSession(); // an event stream tells nobody with which code it was refused
    };
    source.addEventListener("failure", again);
    source.onerror = again;
  };
  document.addEventListener("visibilitychange", open);
  open();
  return {
    stop() {
      over = true;
      close();
      document.removeEventListener("visibilitychange", open);
    },
  };
}

const samples = new Map();
const MAX_SAMPLES = 900;
const MAX_JOBS = 1000;

/** Remembers how fast a job is, from the list and from its own stream alike: the plot begins before the job is opened. */
export function remember(job) {
  if (!job.startTime) return;
  let known = samples.get(job.jobId);
  if (!known) samples.set(job.jobId, (known = []));
  const time = Date.parse(job.updateTime);
  const last = known.at(-1);
  if (last && time <= last.time) return;
  known.push({ time, rate: job.status === "RUNNING" ? job.itemsPerSecond : 0 });
  if (known.length > MAX_SAMPLES) known.shift();
  if (samples.size > MAX_JOBS) samples.delete(samples.keys().next().value);
}

export const remembered = (id) => samples.get(id) ?? [];

export const getJob = (id, signal) => get(jobPath(id), signal);
