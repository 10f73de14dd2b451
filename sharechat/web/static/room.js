/** The page of a room: puts its parts together. */

/** @import {Message, State} from './types' */

import { roomOfPath } from './api.js';
import { Attention, setUpMenu } from './around.js';
import { element, recall, remember, setUpNewRoom } from './browser.js';
import { keyOf, lastRead, saveLastRead, visit } from './browser_storage.js';
import { Composer, DraftsView } from './composer.js';
import { Log } from './log.js';
import { LogView } from './log_view.js';
import { safeName } from './names.js';
import { Outbox } from './outbox.js';
import { RoomSocket } from './socket.js';
import { Banner, People } from './status.js';

const roomId = roomOfPath(location.pathname);
const heading = element('#room-name');
if (roomId) enter(roomId);
else refuse();

function refuse() {
  const banner = new Banner(() => {});
  const text = 'This is not the address of a room. Perhaps a part of the link is missing.';
  document.body.classList.add('over');
  element('#composer').hidden = true;
  heading.textContent = 'No room';
  setUpNewRoom((problem) => (banner.warning = problem));
  banner.show({ kind: 'ended', outcome: { text, retry: false, gone: true } });
}

/** @param {string} roomId */
function enter(roomId) {
  // Each connection has an id of its own. Those of this tab are known also after a reload.
  const idsKey = `sharechat:me:${roomId}`;
  const mine = new Set(recall(idsKey).split(' '));
  /** @param {string} memberId */
  const isMine = (memberId) => mine.has(memberId);
  let me = { memberId: '', memberName: 'You', roomName: '' };
  let read = '';
  const outbox = new Outbox(roomId);
  const attention = new Attention(roomId);
  const people = new People(roomId, (id) => id === me.memberId);
  const log = new Log(roomId, { onChange: (change) => view.change(change) });
  const view = new LogView(log, {
    isMine,
    lastRead: lastRead(roomId),
    // Together with the log, so that what has been stored does not flicker.
    onDraw: () => drafts.draw(me.memberName, view.endsWithMine),
    onRead(messageId) {
      attention.unread = view.unread.count;
      if (messageId) read = messageId;
    },
  });
  const drafts = new DraftsView(outbox);
  const composer = new Composer(roomId, {
    say(text) {
      const { id, text: storable } = outbox.say(text);
      socket.say(id, storable);
      view.unread.clear();
      void view.toEnd();
    },
    scroll: (pages) => view.scroller.page(pages),
  });
  const banner = new Banner(() => {
    socket.retryNow();
    composer.focus();
  });
  const socket = new RoomSocket(roomId, {
    after: () => log.lastId,
    onState,
    onWelcome(welcome, resumed) {
      me = welcome;
      mine.add(me.memberId);
      remember(idsKey, [...mine].slice(-100).join(' '));
      composer.name = safeName(me.memberName);
      heading.textContent = safeName(me.roomName);
      attention.room = safeName(me.roomName);
      visit({ id: roomId, name: me.roomName });
      if (!resumed) log.restart();
      outbox.sendAll(socket);
      void people.load();
    },
    onMessage,
  });
  outbox.onChange = () => {
    view.schedule();
    banner.warning = outbox.persistent ? '' : 'The browser’s storage is full. What waits to be sent is lost if you close this tab.';
  };
  setUpMenu(roomId, () => keyOf(roomId));
  setUpNewRoom((problem) => (banner.warning = problem));
  view.schedule();
  socket.open();
  // Where a keyboard on the screen lies over the page instead of making it smaller.
  const shown = window.visualViewport;
  shown?.addEventListener('resize', () => {
    const height = shown.scale === 1 ? `${shown.height}px` : '';
    document.body.style.setProperty('--height', height);
    if (height) scrollTo(0, 0);
  });
  const saveRead = () => read && saveLastRead(roomId, read) && (read = '');
  setInterval(saveRead, 1_000);
  addEventListener('pagehide', saveRead);
  if (matchMedia('(hover: hover)').matches) composer.focus();

  /** @param {State} state */
  function onState(state) {
    banner.show(state);
    const over = state.kind === 'ended' && state.outcome.gone;
    const reads = view.scroller.hasFocus;
    document.body.classList.toggle('over', over);
    composer.hidden = view.ended = over;
    if (!over) return;
    people.stop();
    log.stop();
    for (const dialog of document.querySelectorAll('dialog')) dialog.close();
    if (!me.roomName) heading.textContent = 'No room';
    // What had the focus is gone, except for the log.
    if (!reads) banner.focus();
  }

  /** @param {Message} message */
  function onMessage(message) {
    const { id, type, message: text } = message;
    if (type === 'failed') {
      outbox.fail(id, text);
      return;
    }
    if (type === 'chat') outbox.acknowledge(id);
    people.hear(message);
    if (!log.live(message) || type !== 'chat' || isMine(message.memberId)) return;
    view.unread.hear(message);
    attention.unread = view.unread.count;
    attention.hear(message);
  }
}
