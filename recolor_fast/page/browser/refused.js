// What the page is told when something does not go: as if a server had answered so.
export class Refused extends Error {
  constructor(status, message, retryAfter = 0) {
    super(message);
    Object.assign(this, { status, retryAfter });
  }
}
