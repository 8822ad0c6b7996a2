/**
 * What a client does with the resources of one type. Resources stand alone: one that cannot be used is refused with its
 * reason, and the others of the response take effect.
 */
import { errorMessage } from '../core/errors.ts';
import type { Authorization } from '../model/authorization.ts';
import { type Address, decodeAddress } from './address-codec.ts';
import { decodeAuthorization } from './authorization-codec.ts';
import type { DeltaResource } from './message-codec.ts';
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from './type-url.ts';
import { decodeWaypointResource, type WaypointResources } from './waypoint-codec.ts';
import type { WaypointType } from './waypoint-types.ts';

/** One response's worth of changes: all updates in order, then all removals. */
export interface ResourceChange<T> {
  readonly updated: readonly { readonly name: string; readonly value: T }[];
  readonly removed: readonly string[];
}

export interface Rejection {
  readonly name: string;
  readonly reason: string;
}

/** Takes a change into the local state before it returns. */
export type ApplyChange<T> = (change: ResourceChange<T>) => void;

export interface Subscription {
  readonly typeUrl: string;
  /** On demand: nothing is sent unless asked for by name. */
  readonly mode: 'wildcard' | 'on-demand';
  /** Decodes and applies; returns what was refused. */
  accept(resources: readonly DeltaResource[], removed: readonly string[]): readonly Rejection[];
}

export function addressSubscription(mode: Subscription['mode'], apply: ApplyChange<Address>): Subscription {
  return subscription({ typeUrl: ADDRESS_TYPE, mode, decode: decodeAddress, apply });
}

export function authorizationSubscription(apply: ApplyChange<Authorization>): Subscription {
  return subscription({ typeUrl: AUTHORIZATION_TYPE, mode: 'wildcard', decode: decodeAuthorization, apply });
}

/** To everything of that type that the gateway of this node has. */
export function waypointSubscription<T extends WaypointType>(
  typeUrl: T,
  apply: ApplyChange<WaypointResources[T]>,
): Subscription {
  return subscription({ typeUrl, mode: 'wildcard', decode: (bytes) => decodeWaypointResource(typeUrl, bytes), apply });
}

function subscription<T>(parts: {
  readonly typeUrl: string;
  readonly mode: Subscription['mode'];
  readonly decode: (bytes: Uint8Array) => T;
  readonly apply: ApplyChange<T>;
}): Subscription {
  const { typeUrl, mode, decode, apply } = parts;
  return {
    typeUrl,
    mode,
    accept(resources, removed) {
      const updated: { name: string; value: T }[] = [];
      const rejections: Rejection[] = [];
      for (const { name, typeUrl: resourceType, bytes } of resources) {
        try {
          if (resourceType !== typeUrl) throw new Error(`unexpected resource type ${resourceType}`);
          updated.push({ name, value: decode(bytes) });
        } catch (error) {
          rejections.push({ name, reason: errorMessage(error) });
        }
      }
      apply({ updated, removed });
      return rejections;
    },
  };
}
