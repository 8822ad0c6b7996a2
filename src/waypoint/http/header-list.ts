/**
 * Headers of one message in the order they came, names in lower case, repeated lines kept. Small lists are searched from
 * the start: that is quicker than building a map for every request.
 */

export class HeaderList {
  /** Name, value, name, value, ... */
  readonly #flat: string[];

  /** Takes over `flat`; its names are in lower case already. */
  constructor(flat: string[] = []) {
    this.#flat = flat;
  }

  /** From `rawHeaders` of a message. */
  static fromRaw(raw: readonly string[]): HeaderList {
    const flat = new Array<string>(raw.length);
    for (let i = 0; i < raw.length; i += 2) {
      flat[i] = (raw[i] as string).toLowerCase();
      flat[i + 1] = raw[i + 1] as string;
    }
    return new HeaderList(flat);
  }

  /** All values joined with `,` (cookies with `; `); undefined when there is none. `name` is in lower case. */
  get(name: string): string | undefined {
    const flat = this.#flat;
    let found: string | undefined;
    for (let i = 0; i < flat.length; i += 2) {
      if (flat[i] !== name) continue;
      found = found === undefined ? flat[i + 1] : `${found}${name === 'cookie' ? '; ' : ','}${flat[i + 1]}`;
    }
    return found;
  }

  has(name: string): boolean {
    const flat = this.#flat;
    for (let i = 0; i < flat.length; i += 2) if (flat[i] === name) return true;
    return false;
  }

  /** Values line by line. */
  all(name: string): readonly string[] {
    const found: string[] = [];
    for (let i = 0; i < this.#flat.length; i += 2) if (this.#flat[i] === name) found.push(this.#flat[i + 1] as string);
    return found;
  }

  /** Replaces every line of that name. */
  set(name: string, value: string): void {
    const flat = this.#flat;
    for (let i = 0; i < flat.length; i += 2) {
      if (flat[i] !== name) continue;
      flat[i + 1] = value;
      this.#deleteFrom(name, i + 2);
      return;
    }
    flat.push(name, value);
  }

  append(name: string, value: string): void {
    this.#flat.push(name, value);
  }

  delete(name: string): void {
    this.#deleteFrom(name, 0);
  }

  /** Removes every line whose name `is` says. */
  deleteWhere(is: (name: string) => boolean): void {
    const flat = this.#flat;
    let to = 0;
    for (let i = 0; i < flat.length; i += 2) {
      if (is(flat[i] as string)) continue;
      if (to !== i) {
        flat[to] = flat[i] as string;
        flat[to + 1] = flat[i + 1] as string;
      }
      to += 2;
    }
    flat.length = to;
  }

  /** For writing out; not to be changed. */
  get flat(): readonly string[] {
    return this.#flat;
  }

  get count(): number {
    return this.#flat.length / 2;
  }

  copy(): HeaderList {
    return new HeaderList(this.#flat.slice());
  }

  *[Symbol.iterator](): Generator<readonly [name: string, value: string]> {
    for (let i = 0; i < this.#flat.length; i += 2) yield [this.#flat[i] as string, this.#flat[i + 1] as string];
  }

  #deleteFrom(name: string, start: number): void {
    for (let i = start; i < this.#flat.length; ) {
      if (this.#flat[i] === name) this.#flat.splice(i, 2);
      else i += 2;
    }
  }
}
