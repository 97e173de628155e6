"use strict";
// Carries what the server sends into the page, touching only what differs: focus, open details and selections stay.
(() => {
  const byId = (id) => document.getElementById(id);
  const CLOSED_PAUSE = 10000; // ms until another try after the server refused the stream
  let stream = null;
  let skew = 0; // ms that the node's clock is ahead of this one
  let lostAt = null;

  function morph(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      const isReaders = name === "open" && old.localName === "details";
      if (!fresh.hasAttribute(name) && !isReaders) old.removeAttribute(name);
    }
    morphChildren(old, fresh);
  }

  const keyOf = (node) => (node.dataset ? node.dataset.key || node.id : "");
  const isAlike = (a, b) => a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

  function morphChildren(old, fresh) {
    const keyed = new Map();
    for (const child of [...old.childNodes].reverse()) if (keyOf(child)) keyed.set(keyOf(child), child);
    let place = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const known = keyOf(wanted) ? keyed.get(keyOf(wanted)) : place;
      keyed.delete(keyOf(wanted)); // A second one of that key is another thing.
      if (known && isAlike(known, wanted)) {
        if (known === place) place = place.nextSibling;
        else old.insertBefore(known, place);
        morph(known, wanted);
      } else {
        old.insertBefore(wanted, place);
      }
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  }

  function countdown(seconds) {
    const whole = Math.max(0, Math.round(seconds));
    const two = (number) => String(number).padStart(2, "0");
    const minutes = Math.floor(whole / 60), hours = Math.floor(whole / 3600);
    if (whole < 60) return `${whole}s`;
    if (whole < 3600) return `${minutes}m${two(whole % 60)}s`;
    if (whole < 86400) return `${hours}h${two(minutes % 60)}m`;
    return `${Math.floor(hours / 24)}d${hours % 24}h`;
  }

  function tick() {
    const now = Date.now() + skew;
    for (const time of document.querySelectorAll("time[data-counts]")) {
      const passed = (now - Date.parse(time.dateTime)) / 1000;
      const text = countdown(time.dataset.counts === "since" ? passed : -passed);
      if (time.textContent !== text) time.textContent = text;
    }
  }

  function states() {
    const found = new Map([["", `This node is ${byId("view").dataset.ready}`]]);
    for (const row of document.querySelectorAll("[data-state]")) found.set(row.dataset.key, row.dataset.state);
    return found;
  }

  function announce(text) {
    byId("announcements").textContent = text;
  }

  function announceChanges(before, after) {
    const changed = [...after].filter(([key, state]) => before.get(key) !== state).map(([, state]) => state);
    if (changed.length > 4) announce(`${changed.length} states changed`);
    else if (changed.length) announce(changed.join(". "));
  }

  function show(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html").getElementById("view");
    if (!fresh) return;
    const before = states();
    morph(byId("view"), fresh);
    skew = Date.parse(byId("view").dataset.now) - Date.now();
    document.title = byId("view").dataset.title;
    announceChanges(before, states());
  }

  function mark() {
    byId("view").classList.toggle("stale", lostAt !== null);
    const live = byId("live");
    live.className = lostAt === null ? "on" : "off";
    live.textContent = lostAt === null ? "Live" : `Connection lost at ${lostAt}, trying again`;
  }

  function lose() {
    if (lostAt === null) {
      lostAt = new Date().toLocaleTimeString();
      announce("Connection to the agent lost");
    }
    mark();
  }

  function open() {
    if (stream || document.hidden) return;
    stream = new EventSource("/events?as=page");
    stream.onmessage = (event) => {
      lostAt = null;
      show(event.data);
      mark();
      tick();
    };
    stream.onerror = () => {
      lose();
      if (stream && stream.readyState === EventSource.CLOSED) {
        close();
        setTimeout(open, CLOSED_PAUSE);
      }
    };
  }

  function close() {
    if (stream) stream.close();
    stream = null;
  }

  // A hidden page costs the node nothing.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  setInterval(() => document.hidden || lostAt !== null || tick(), 1000);
  open();
})();
