/** The types that the page's modules share; only for the type checker, never served. */

export interface Message {
  id: string;
  roomId: string;
  memberId: string;
  memberName: string;
  type: 'chat' | 'joined' | 'left' | 'failed';
  message: string;
  /** RFC 3339, in UTC. */
  sent: string;
}

export interface Me {
  memberId: string;
  memberName: string;
  roomName: string;
}

export interface Outcome {
  /** A sentence for a person. */
  text: string;
  retry: boolean;
  /** The room does not exist, or not any more. */
  gone: boolean;
}

export type State =
  | { kind: 'connecting' }
  | { kind: 'connected' }
  /** `until` is when the next try is, by `performance.now()`. */
  | { kind: 'waiting'; until: number; reason: string }
  | { kind: 'ended'; outcome: Outcome };

export interface SocketHandlers {
  /** Asked at each attempt: the id of the last message of the log that was heard. */
  after: () => string | null;
  onState(state: State): void;
  /**
   * `resumed` is false if the log is heard from one's own `joined` on, because there was nothing
   * to go on from or the server does not know it. Then call `Log.restart()` before anything else.
   */
  onWelcome(me: Me, resumed: boolean): void;
  onMessage(message: Message): void;
}

export interface NewRoom {
  roomId: string;
  roomName: string;
  /** What deleting the room needs. */
  key: string;
}

export interface Member {
  id: string;
  name: string;
}

export interface Room {
  roomId: string;
  roomName: string;
  members: Member[];
}

/** A part of a history, and the paths of the parts beside it. */
export interface Page {
  messages: Message[];
  prev: string | null;
  next: string | null;
}

export interface Draft {
  id: string;
  text: string;
  state: 'waiting' | 'failed';
  reason?: string;
  /** Drafts are sent in this order. */
  order: number;
}

/** A room that this browser has been in. */
export interface VisitedRoom {
  id: string;
  name: string;
  /** Milliseconds, as by `Date.now()`. */
  visited: number;
  key?: string;
}

export type Change =
  | { kind: 'append'; messages: Message[] }
  | { kind: 'prepend'; messages: Message[] }
  | { kind: 'drop-first'; count: number }
  | { kind: 'drop-last'; count: number }
  | { kind: 'reset'; messages: Message[] }
  /** `loading`, `error`, `atStart` or `atEnd` has changed. */
  | { kind: 'status' };

export interface LogHandlers {
  onChange(change: Change): void;
  fetchPage?: (path: string, signal?: AbortSignal) => Promise<Page>;
}

/** `text` is without the backticks of code. */
export interface Token {
  kind: 'text' | 'link' | 'code' | 'block';
  text: string;
  href?: string;
}
